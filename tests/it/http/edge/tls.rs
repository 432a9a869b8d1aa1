//! HTTPS: versions, new certificates while it runs, and certificates that cannot be used.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

use crate::{
    http::{LIGHT, until},
    support::{
        scratch,
        server::{Server, binary},
    },
};

fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

fn write(directory: &Path, own: &CertifiedKey<KeyPair>) {
    fs::write(directory.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("cert.pem"), own.cert.pem()).unwrap();
}

async fn serve(directory: &Path, more: &[(&str, &str)]) -> Server {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let mut settings = LIGHT.to_vec();
    settings.push(("DORMOUSE__STORE__URL", "memory://"));
    settings.push(("DORMOUSE__TLS__CERTIFICATE", &certificate));
    settings.push(("DORMOUSE__TLS__KEY", &key));
    settings.push(("DORMOUSE__TLS__RELOAD", "100ms"));
    settings.extend(more);
    Server::start(&settings).await
}

/// Asks whether it lives, over one version of TLS, believing one certificate only.
async fn ask(
    server: &Server,
    believed: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Result<(ProtocolVersion, String), String> {
    let mut roots = RootCertStore::empty();
    roots.add(believed.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let mut stream = connecting.await.map_err(|error| error.to_string())?;
    let spoken = stream.get_ref().1.protocol_version().unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    Ok((spoken, answer))
}

#[tokio::test]
async fn both_versions_are_spoken_and_the_older_only_where_it_may_be() {
    let directory = scratch();
    let own = certificate();
    write(directory.path(), &own);
    let both = serve(directory.path(), &[]).await;
    let newer = serve(directory.path(), &[("DORMOUSE__TLS__MIN_VERSION", "1.3")]).await;

    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let (spoken, answer) = ask(&both, own.cert.der(), version).await.unwrap();
        assert_eq!(spoken, number);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\"alive\""), "{answer}");
    }
    assert!(ask(&newer, own.cert.der(), &TLS12).await.is_err());
    ask(&newer, own.cert.der(), &TLS13).await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_a_bad_one_is_not() {
    let directory = scratch();
    let (first, second) = (certificate(), certificate());
    write(directory.path(), &first);
    let server = serve(directory.path(), &[]).await;
    ask(&server, first.cert.der(), &TLS13).await.unwrap();

    fs::write(directory.path().join("cert.pem"), "no certificate").unwrap();
    until("the bad one is told", async || {
        server.log().contains("the old are kept")
    })
    .await;
    ask(&server, first.cert.der(), &TLS13).await.unwrap();
    write(directory.path(), &second);
    until("the new one is served", async || {
        ask(&server, second.cert.der(), &TLS13).await.is_ok()
    })
    .await;

    assert!(ask(&server, first.cert.der(), &TLS13).await.is_err());
    let pem = second.signing_key.serialize_pem();
    let secret = pem.lines().nth(1).unwrap();
    assert!(!server.log().contains(secret));
}

#[tokio::test]
async fn a_key_of_another_certificate_stops_the_start_and_is_not_shown() {
    let directory = scratch();
    let (own, other) = (certificate(), certificate());
    write(directory.path(), &own);
    let other = other.signing_key.serialize_pem();
    fs::write(directory.path().join("key.pem"), &other).unwrap();
    let start = || {
        binary()
            .args(["serve", "--bind", "127.0.0.1:0"])
            .env("DORMOUSE__STORE__URL", "memory://")
            .env(
                "DORMOUSE__TLS__CERTIFICATE",
                directory.path().join("cert.pem"),
            )
            .env("DORMOUSE__TLS__KEY", directory.path().join("key.pem"))
            .current_dir(directory.path())
            .output()
            .unwrap()
    };

    let mismatched = start();
    fs::remove_file(directory.path().join("key.pem")).unwrap();
    let missing = start();

    for (output, words) in [
        (&mismatched, "do not go together"),
        (&missing, "cannot be read"),
    ] {
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(words), "{told}");
        assert!(!told.contains(other.lines().nth(1).unwrap()), "{told}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_let_go() {
    let directory = scratch();
    let own = certificate();
    write(directory.path(), &own);
    let server = serve(directory.path(), &[("DORMOUSE__HTTP__HEAD_TIMEOUT", "1s")]).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();

    let mut nothing = Vec::new();
    let closed = timeout(Duration::from_secs(20), silent.read_to_end(&mut nothing)).await;

    closed.expect("it is let go").ok();
    // And a client that speaks plain HTTP is no client.
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain
        .write_all(b"GET /livez HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut told = Vec::new();
    plain.read_to_end(&mut told).await.ok();
    assert!(!told.starts_with(b"HTTP"));
    ask(&server, own.cert.der(), &TLS13).await.unwrap();
}
