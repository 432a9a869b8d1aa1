//! The input, which is read more than once: stdin is kept in a file meanwhile.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Seek as _},
    path::Path,
};

/// The input.
#[derive(Debug)]
pub(super) struct Source(File);

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return spooled(&mut io::stdin().lock());
        }
        File::open(path).map(Self)
    }

    /// Hands on each line that is not empty, with its number, until `line` says that it is enough.
    pub(super) fn lines(&self) -> io::Result<Lines> {
        let mut file = self.0.try_clone()?;
        file.rewind()?;
        Ok(Lines {
            reader: BufReader::with_capacity(256 * 1024, file),
            text: String::new(),
            number: 0,
            failed: None,
        })
    }
}

/// The lines of the input; one at a time is in memory.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<File>,
    text: String,
    number: u64,
    /// What ended a page, told with the next.
    failed: Option<io::Error>,
}

impl Lines {
    /// The next line that is not empty, with its number.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &str)>> {
        loop {
            self.text.clear();
            self.number += 1;
            let read = self.reader.read_line(&mut self.text);
            if read.map_err(|error| at(self.number, &error))? == 0 {
                return Ok(None);
            }
            if !self.text.trim().is_empty() {
                // A loop cannot give back what it borrows.
                break;
            }
        }
        Ok(Some((self.number, self.text.trim())))
    }

    /// The next lines that are not empty, until they have so many bytes; none at the end. What comes
    /// before an error is given first.
    pub(super) fn page(&mut self, bytes: usize) -> io::Result<Vec<(u64, String)>> {
        let (mut page, mut read) = (Vec::new(), 0);
        while read < bytes && self.failed.is_none() {
            match self.next() {
                Ok(Some((number, line))) => {
                    read += line.len();
                    page.push((number, line.to_owned()));
                }
                Ok(None) => break,
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed.take() {
            Some(error) if page.is_empty() => Err(error),
            failed => {
                self.failed = failed;
                Ok(page)
            }
        }
    }
}

/// What is no UTF-8 is told with its line.
fn at(number: u64, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("line {number}: {error}"))
}

/// Without a name: it goes with the process, however that ends.
fn spooled(from: &mut impl io::Read) -> io::Result<Source> {
    let name = format!(
        "dormouse-import-{}-{}",
        std::process::id(),
        rand::random::<u64>()
    );
    let path = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    io::copy(from, &mut file)?;
    Ok(Source(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_comes_before_a_line_that_cannot_be_read_is_given_first() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\n\ntwo\n\xff\nfour\n").unwrap();
        let mut lines = Source::open(file.path()).unwrap().lines().unwrap();

        let page = lines.page(1000).unwrap();

        assert_eq!(page, [(1, "one".to_owned()), (3, "two".to_owned())]);
        let error = lines.page(1000).unwrap_err().to_string();
        assert!(error.starts_with("line 4: "), "{error}");
    }

    #[test]
    fn a_page_ends_with_the_line_that_fills_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        let mut lines = Source::open(file.path()).unwrap().lines().unwrap();

        let mut pages: Vec<Vec<u64>> = Vec::new();
        while let page = lines.page(4).unwrap()
            && !page.is_empty()
        {
            pages.push(page.into_iter().map(|(number, _)| number).collect());
        }

        assert_eq!(pages, [vec![1, 2], vec![3]]);
    }
}
