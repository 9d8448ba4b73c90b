//! The address of a PostgreSQL server, and TLS to it.
//!
//! The address is a URL like libpq's, with two additional parameters: `schema` is the prefix of the tenant's schemas,
//! and `lock_seconds` is the time after which the lock of a dead process expires.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Kind, Result};

/// The beginnings of an address.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// The default prefix of the schemas.
const SCHEMA: &str = "recoup";

/// The longest prefix of the schemas' names, in bytes. PostgreSQL allows 63 bytes, and the suffix of a store takes up
/// to 8.
const LONGEST_SCHEMA: usize = 50;

/// The default time after which the lock expires of a process that died or lost its connection.
const LOCK_SECONDS: u64 = 60;

/// A PostgreSQL server, with everything that a connection to the server needs.
#[derive(Clone)]
pub struct Server {
    /// The whole address of the server, which may contain a password.
    url: SecretString,
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: MakeRustlsConnect,
    /// The address without its password.
    shown: String,
    /// The prefix of the names of this tenant's schemas.
    prefix: String,
    pub(super) lock_ttl: Duration,
}

impl Server {
    /// Returns `true` if a text is the address of a PostgreSQL server and not the path of a file.
    pub fn is_address(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Fails if a text is no address, and no path that a person can have meant: an address with a wrong beginning, or libpq's
    /// `host=… password=…`. As the path of a file it would begin an empty ledger, and a message would show its password.
    ///
    /// # Errors
    /// [`Kind::Config`]. The error repeats neither the text nor any part of it.
    pub fn check_path(text: &OsStr) -> Result<()> {
        let text = text.to_string_lossy().to_lowercase();
        let is_uri = ["://", "postgres:", "postgresql:"].iter().any(|part| text.contains(part));
        let is_pair = |word: &str| ["host=", "dbname=", "password="].iter().any(|key| word.starts_with(key));
        let quotes = |c: char| c.is_whitespace() || c == '"' || c == '\'';
        if is_uri || text.split(quotes).any(is_pair) {
            return Err(invalid(
                "it is neither the path of a file nor a text that begins with postgres:// or postgresql://",
            ));
        }
        Ok(())
    }

    /// Returns whether the address holds a password, which other users could read in a list of processes.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Parses the address of a PostgreSQL server.
    ///
    /// # Errors
    /// [`Kind::Config`] if the address or one of its parameters is not valid. The error about an invalid address never repeats the address.
    pub fn parse(url: SecretString) -> Result<Self> {
        let (bare, parameters) = parameters(url.expose_secret());
        let (mut kept, mut prefix, mut mode, mut root) = (Vec::new(), SCHEMA.to_owned(), None, None);
        let mut seconds = LOCK_SECONDS;
        for (key, value) in parameters {
            match key.as_str() {
                "schema" => prefix = value,
                "sslmode" => mode = Some(value),
                "sslrootcert" => root = Some(PathBuf::from(value)),
                "lock_seconds" => {
                    let valid = value.parse().ok().filter(|seconds| (2..=3600).contains(seconds));
                    seconds = valid.ok_or_else(|| invalid("lock_seconds must be a number from 2 to 3600"))?;
                }
                _ => kept.push(format!("{key}={value}")),
            }
        }
        check_schema(&prefix)?;
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        // The driver's own error is left out, because it may quote the address.
        let mut config = tokio_postgres::Config::from_str(&format!("{bare}{query}"))
            .map_err(|_quotes_the_address| invalid("it is not a valid postgres:// address"))?;
        if config.get_hosts().is_empty() {
            return Err(invalid("it names no host"));
        }
        let shown = shown(&config, &prefix);
        let mode = Mode::of(mode.as_deref(), root, &config)?;
        config
            .ssl_mode(mode.of_driver())
            .application_name("recoup")
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        let tls = MakeRustlsConnect::new(mode.client_config()?);
        Ok(Self { url, config, tls, shown, prefix, lock_ttl: Duration::from_secs(seconds) })
    }

    /// Returns the driver's settings with a limit for each host, so that one host that does not answer leaves time for the next.
    pub(super) fn config_within(&self, limit: Duration) -> tokio_postgres::Config {
        let mut config = self.config.clone();
        if config.get_connect_timeout().is_none() {
            let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
            config.connect_timeout(limit / u32::try_from(hosts).unwrap_or(u32::MAX));
        }
        config
    }

    /// Returns the quoted name of the schema of a store, for example `"recoup_ledger"`.
    pub(in crate::store) fn schema(&self, store: &str) -> String {
        let suffix = match store {
            "access file" => "access",
            "queue of notices" => "notices",
            other => other,
        };
        format!("\"{}_{suffix}\"", self.prefix)
    }

    /// Returns a key that is equal for equal addresses.
    pub(super) fn key(&self) -> &str {
        self.url.expose_secret()
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.url.expose_secret() == other.url.expose_secret()
    }
}

impl Eq for Server {}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn invalid(what: &str) -> Error {
    Error::new(Kind::Config, format!("the address of the PostgreSQL server is not usable: {what}"))
        .hint("write postgres://USER@HOST:PORT/DATABASE?schema=NAME; docs/postgres.md describes every part")
}

/// Splits an address into the part before `?` and its parameters.
fn parameters(address: &str) -> (&str, Vec<(String, String)>) {
    // The driver takes everything before the first `@` as user and password.
    let credentials = address.find('@').unwrap_or_default();
    let query_at = address[credentials..].find('?').map(|at| credentials + at);
    let (bare, query) = query_at.map_or((address, ""), |at| (&address[..at], &address[at + 1..]));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        // The driver decodes its own parameters.
        let is_ours = ["schema", "sslmode", "sslrootcert", "lock_seconds"].contains(&key);
        (key.to_owned(), if is_ours { decoded } else { value.to_owned() })
    };
    (bare, pairs.map(pair).collect())
}

/// Allows only names that need no quotes, so that people can type them in `psql`.
fn check_schema(prefix: &str) -> Result<()> {
    let is_plain = prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let starts_well = prefix.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if is_plain && starts_well && prefix.len() <= LONGEST_SCHEMA && !prefix.starts_with("pg_") {
        return Ok(());
    }
    Err(invalid("schema must be a name of at most 50 letters a to z, digits and _, and start with a letter"))
}

fn shown(config: &tokio_postgres::Config, prefix: &str) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(n, host)| {
            let name = match host {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            };
            let port = config.get_ports().get(n).or(config.get_ports().first()).copied().unwrap_or(5432);
            format!("{name}:{port}")
        })
        .collect();
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let database = config.get_dbname().unwrap_or_default();
    format!("postgres://{user}{}/{database}?schema={prefix}", hosts.join(","))
}

/// How the connection to the server is encrypted and which server certificates are trusted, in libpq's words.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    /// Encrypts if the server can, and does not check the server's certificate.
    Prefer,
    /// Encrypts, and does not check the server's certificate.
    Require,
    /// Checks the server's certificate, but not the host name in it. The path names a file of trusted certificates;
    /// without a path the operating system's certificates are trusted.
    VerifyCa(Option<PathBuf>),
    /// Checks the server's certificate and the host name in it.
    VerifyFull(Option<PathBuf>),
}

impl Mode {
    fn of(word: Option<&str>, root: Option<PathBuf>, config: &tokio_postgres::Config) -> Result<Self> {
        Ok(match word {
            None if is_local(config) && root.is_none() => Self::Prefer,
            // libpq would encrypt without checking the certificate, so that an attacker in the network could read the
            // ledger.
            None | Some("verify-full") => Self::VerifyFull(root),
            Some("verify-ca") => Self::VerifyCa(root),
            // As in libpq, a file of trusted certificates turns `require` into `verify-ca`.
            Some("require") if root.is_some() => Self::VerifyCa(root),
            Some("require") => Self::Require,
            Some("prefer") => Self::Prefer,
            Some("disable") => Self::Disable,
            Some(_) => {
                return Err(invalid("sslmode must be disable, prefer, require, verify-ca or verify-full"));
            }
        })
    }

    fn of_driver(&self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa(_) | Self::VerifyFull(_) => SslMode::Require,
        }
    }

    fn client_config(&self) -> Result<ClientConfig> {
        let failed = |what: String| {
            Error::new(Kind::Config, format!("TLS to the PostgreSQL server cannot be set up: {what}"))
                .hint("check sslmode and sslrootcert in the address of the server")
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match self {
            Self::Disable | Self::Prefer | Self::Require => {
                Arc::new(Lenient { provider: Arc::clone(&provider), of: None })
            }
            Self::VerifyCa(root) => {
                let of = verifier(root.as_deref(), &provider).map_err(failed)?;
                Arc::new(Lenient { provider: Arc::clone(&provider), of: Some(of) })
            }
            Self::VerifyFull(root) => verifier(root.as_deref(), &provider).map_err(failed)?,
        };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| failed(error.to_string()))?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

/// Returns `true` if every host in the address is this machine.
fn is_local(config: &tokio_postgres::Config) -> bool {
    let names = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    names && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn verifier(
    root: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> std::result::Result<Arc<dyn ServerCertVerifier>, String> {
    let Some(path) = root else {
        return Ok(Arc::new(Verifier::new(Arc::clone(provider)).map_err(|error| error.to_string())?));
    };
    let failed = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(built.map_err(|error| failed(&error))?)
}

/// A certificate check that is weaker than usual for TLS, for libpq's `require` and `verify-ca`.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// The usual check of a certificate, of which this type ignores only the result for the host name. `None` accepts
    /// every certificate.
    of: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(strict) = &self.of else { return Ok(ServerCertVerified::assertion()) };
        match strict.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Server> {
        Server::parse(SecretString::from(address.to_owned()))
    }

    fn mode_of(address: &str) -> Mode {
        let (bare, parameters) = parameters(address);
        let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let config = tokio_postgres::Config::from_str(bare).expect("valid");
        Mode::of(get("sslmode").as_deref(), get("sslrootcert").map(PathBuf::from), &config).expect("valid")
    }

    #[test]
    fn a_password_is_never_shown() {
        for address in [
            "postgres://ann:Zq7%21secret@db.example.com:5433/shop?schema=acme",
            "postgres://ann@db.example.com:5433/shop?password=Zq7secret&schema=acme",
        ] {
            let server = parse(address).expect("valid");
            let shown =
                format!("{server} {server:?} {:?}", super::super::super::Place::Server(Arc::new(server.clone())));
            assert!(!shown.contains("Zq7"), "{shown}");
            assert_eq!(server.to_string(), "postgres://ann@db.example.com:5433/shop?schema=acme");
            assert!(server.has_password());
        }
        assert!(!parse("postgres://ann@db.example.com:5433/shop?schema=acme").expect("valid").has_password());
    }

    #[test]
    fn a_password_is_found_however_it_is_written() {
        for address in [
            "postgres://ann:pa/ss@db/shop",
            "postgres://ann:pa?ss@db/shop?schema=acme",
            "postgres://ann:p%40ss@db/shop",
            "postgres://db/shop?user=ann&passw%6frd=pass",
            "postgres://db/shop?user=ann&password=pa%26ss",
        ] {
            let server = parse(address).expect(address);
            assert!(server.has_password(), "{address}");
            assert!(!server.to_string().contains("ss@") && server.to_string().contains("/shop?"), "{server}");
        }
    }

    #[test]
    fn a_text_that_is_neither_an_address_nor_a_path_is_refused_without_being_repeated() {
        for text in [
            "Postgres://ann:Zq7@db/shop",
            "POSTGRESQL://ann:Zq7@db/shop",
            "\"postgres://ann:Zq7@db/shop\"",
            "'postgres:/ann:Zq7@db/shop'",
            " postgres://ann:Zq7@db/shop",
            "\u{feff}postgres://ann:Zq7@db/shop",
            "postgre://ann:Zq7@db/shop",
            "jdbc:postgresql://db/shop?password=Zq7",
            "postgres:ann:Zq7@db/shop",
            "mysql://ann:Zq7@db/shop",
            "host=db user=ann password=Zq7",
            "password=Zq7",
        ] {
            let error = Server::check_path(OsStr::new(text)).expect_err(text);
            assert_eq!(error.kind, Kind::Config, "{text}");
            assert!(!format!("{error:?}").contains("Zq7"), "{error:?}");
        }
        for path in ["recoup.db", "/var/lib/recoup/a=b.db", "C:/recoup.db", "./postgres/a.db", "user files/recoup.db"] {
            Server::check_path(OsStr::new(path)).expect(path);
        }
    }

    #[test]
    fn each_of_several_hosts_has_its_share_of_the_time_to_connect() {
        let within = |address: &str| {
            let server = parse(address).expect("valid");
            server.config_within(Duration::from_secs(6)).get_connect_timeout().copied()
        };
        assert_eq!(within("postgres://ann@a,b,c/shop?sslmode=disable"), Some(Duration::from_secs(2)));
        assert_eq!(within("postgres://ann@a/shop?sslmode=disable"), Some(Duration::from_secs(6)));
        assert_eq!(within("postgres://ann@a,b/shop?connect_timeout=9"), Some(Duration::from_secs(9)));
    }

    #[test]
    fn an_address_that_is_not_valid_is_refused_without_being_repeated() {
        for address in [
            "postgres://ann:Zq7@db:port/shop",
            "postgres:///shop?user=Zq7",
            "postgres://ann:Zq7@db/shop?schema=Zq7",
            "postgres://ann:Zq7@db/shop?schema=pg_zq7",
            "postgres://ann:Zq7@db/shop?sslmode=Zq7",
            "postgres://ann:Zq7@db/shop?lock_seconds=Zq7",
            "postgres://ann:Zq7@db/shop?Zq7=1",
        ] {
            let error = parse(address).expect_err(address);
            assert_eq!(error.kind, Kind::Config, "{address}");
            assert!(!format!("{error:?}").contains("Zq7"), "{error:?}");
        }
    }

    #[test]
    fn a_server_on_another_machine_must_prove_its_name_by_default() {
        for (address, mode) in [
            ("postgres://a@localhost/x", Mode::Prefer),
            ("postgres://a@127.0.0.1/x", Mode::Prefer),
            ("postgres://a@localhost,db.example.com/x", Mode::VerifyFull(None)),
            ("postgres://a@db.example.com/x", Mode::VerifyFull(None)),
            ("postgres://a@10.0.0.7/x", Mode::VerifyFull(None)),
            ("postgres://a@db.example.com/x?sslmode=require", Mode::Require),
            ("postgres://a@db.example.com/x?sslmode=require&sslrootcert=/ca", Mode::VerifyCa(Some("/ca".into()))),
            ("postgres://a@db.example.com/x?sslmode=verify-ca", Mode::VerifyCa(None)),
            ("postgres://a@db.example.com/x?sslrootcert=/ca%20b", Mode::VerifyFull(Some("/ca b".into()))),
            ("postgres://a@db.example.com/x?sslmode=disable", Mode::Disable),
        ] {
            assert_eq!(mode_of(address), mode, "{address}");
        }
    }
}
