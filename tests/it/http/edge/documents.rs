//! The page at `/docs` as a browser takes it: everything it uses is allowed by its content security
//! policy, and nothing stands in it that the policy is there to forbid.

use std::collections::BTreeMap;

use crate::http::Wire;

/// A content security policy, by directive.
struct Policy(BTreeMap<String, Vec<String>>);

impl Policy {
    fn read(text: &str) -> Self {
        let parts = text.split(';').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty()).map(|part| {
            let mut words = part.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.collect())
        });
        Self(parts.collect())
    }

    /// Where such a thing may come from; what is not named is as `default-src` says.
    fn sources(&self, directive: &str) -> Vec<&str> {
        let sources = self.0.get(directive).or_else(|| self.0.get("default-src"));
        sources.unwrap().iter().map(String::as_str).collect()
    }

    #[track_caller]
    fn allows(&self, directive: &str, source: &str) {
        let sources = self.sources(directive);
        assert!(
            sources.contains(&source),
            "{directive} {sources:?}, for {source}"
        );
    }
}

/// A tag of a page, and the text behind it.
struct Tag<'a> {
    name: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    text: &'a str,
}

impl<'a> Tag<'a> {
    fn read(part: &'a str) -> Self {
        let (tag, text) = part.split_once('>').unwrap();
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = BTreeMap::new();
        while let Some((attribute, quoted)) = rest.split_once("=\"") {
            let (value, behind) = quoted.split_once('"').unwrap();
            attributes.insert(attribute.trim(), value);
            rest = behind;
        }
        Self {
            name,
            attributes,
            text,
        }
    }
}

/// A file that the page names, as it is served.
struct Used {
    directive: &'static str,
    content_type: &'static str,
    path: String,
}

/// What a tag makes a browser load.
fn used(tag: &Tag<'_>) -> Option<Used> {
    let (directive, content_type) = match (tag.name, tag.attributes.get("rel").copied()) {
        ("script", _) => ("script-src", "javascript"),
        ("link", Some("stylesheet")) => ("style-src", "text/css"),
        ("link", Some("icon")) => ("img-src", "image/png"),
        ("link" | "img" | "iframe" | "object" | "embed" | "base" | "form", _) => {
            panic!("nothing here knows what a {} loads", tag.name)
        }
        _ => return None,
    };
    let at = tag
        .attributes
        .get("src")
        .or_else(|| tag.attributes.get("href"));
    let at = at.expect("a script stands in the page");
    assert!(
        !at.contains(':') && !at.starts_with('/'),
        "{at} is elsewhere"
    );
    Some(Used {
        directive,
        content_type,
        path: format!("/{at}"),
    })
}

/// The places where a script makes code of text, but for those that are never reached where `this` and
/// `Function.prototype.bind` are what every browser has.
fn makers_of_code(script: &str) -> Vec<&str> {
    let around = |place: usize| {
        let shown = script[place..].char_indices().nth(40);
        &script[place..shown.map_or(script.len(), |(behind, _)| place + behind)]
    };
    let mut found = Vec::new();
    for maker in [
        "eval(",
        "Function(\"",
        "importScripts(",
        "new Worker",
        "createElement(\"script",
    ] {
        for (place, _) in script.match_indices(maker) {
            let before = &script[..place];
            let is_name = |sign: char| sign.is_ascii_alphanumeric() || "_.$".contains(sign);
            let is_another = before.ends_with(is_name);
            let is_spare = before.ends_with("||") || before.ends_with("||new ");
            let is_bind = script[place..].starts_with("Function(\"binder\"");
            if !(is_another || is_spare || is_bind) {
                found.push(around(place));
            }
        }
    }
    found
}

#[tokio::test]
async fn the_policy_of_the_documents_page_allows_all_it_uses_and_nothing_that_stands_in_it() {
    let wire = Wire::sqlite(&[]).await;
    let page = wire.get("/docs").await;
    let policy = Policy::read(page.is(200).header("content-security-policy").unwrap());

    assert_eq!(policy.sources("script-src"), ["'self'"]);
    let (_, tags) = page.text.split_once("<html").unwrap();
    let tags: Vec<_> = tags.split('<').skip(1).map(Tag::read).collect();
    let mut files = BTreeMap::new();
    for tag in &tags {
        for (attribute, value) in &tag.attributes {
            let runs = attribute.starts_with("on") || value.contains("javascript:");
            assert!(!runs && *attribute != "style", "{}: {attribute}", tag.name);
        }
        let Some(used) = used(tag) else {
            assert_ne!(tag.name, "style");
            continue;
        };
        assert!(tag.text.trim().is_empty(), "{}", tag.text);
        policy.allows(used.directive, "'self'");
        let file = wire.get(&used.path).await;
        // With `nosniff`, a browser takes nothing of another type.
        let content_type = file.is(200).header("content-type").unwrap();
        assert!(content_type.contains(used.content_type), "{content_type}");
        files.insert(used.path, (used.directive, file.text));
    }
    let of = |wanted: &str| files.values().filter(|(kind, _)| *kind == wanted).count();
    assert_eq!(
        (of("script-src"), of("style-src"), of("img-src")),
        (3, 2, 1)
    );

    for (path, (directive, text)) in &files {
        match *directive {
            "style-src" => {
                assert!(
                    !text.contains("@import") && !text.contains("@font-face"),
                    "{path}"
                );
                for place in text.split("url(").skip(1) {
                    let place = place.trim_start_matches('"');
                    assert!(place.starts_with("data:image/"), "{path}: {place:.40}");
                    policy.allows("img-src", "data:");
                }
            }
            "script-src" => assert_eq!(makers_of_code(text), Vec::<&str>::new(), "{path}"),
            _ => {}
        }
    }
    let (_, begins) = &files["/docs/swagger-initializer.js"];
    assert!(
        begins.contains("openapi.json") && !begins.contains("://"),
        "{begins}"
    );
    policy.allows("connect-src", "'self'");
    wire.get("/openapi.json").await.is(200);
}

#[test]
fn code_that_is_made_of_text_is_found() {
    for made in [
        "a=eval(b)",
        "x(Function(\"return 1\"))",
        "new Function(\"a\")",
        "new Worker(u)",
    ] {
        assert_eq!(makers_of_code(made).len(), 1, "{made}");
    }
    for spare in [
        "a||Function(\"return this\")()",
        "isFunction(\"a\")",
        "retrieval(a)",
        "b.eval(c)",
    ] {
        assert_eq!(makers_of_code(spare), Vec::<&str>::new(), "{spare}");
    }
}
