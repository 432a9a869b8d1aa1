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
        })
    }
}

/// The lines of the input; one at a time is in memory.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<File>,
    text: String,
    number: u64,
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
