//! Reads the environment variables once and in one place, so that a test can replace them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::SecretString;
use secrecy::zeroize::Zeroize;

use crate::error::{Error, Kind, Result};
use crate::vendor::Secret;

/// Variables that recoup or one of its libraries reads and that do not start with `RECOUP_`, in upper or lower case.
const OTHERS: &[&str] = &[
    "HOME",
    "USERPROFILE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
];

#[derive(Debug, Clone, Default)]
pub struct Environment(pub(super) BTreeMap<String, String>);

/// Wipes the variables' values from memory, because some are tokens.
impl Drop for Environment {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// `Kind::Config` if a variable that recoup reads is not UTF-8. If recoup ignored such a variable, it would silently use another
    /// setting.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn of_process() -> Result<Self> {
        Self::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self> {
        let mut read = BTreeMap::new();
        for (name, value) in variables {
            let shown = name.to_string_lossy().into_owned();
            let is_ours = shown.starts_with("RECOUP_") || OTHERS.iter().any(|other| shown.eq_ignore_ascii_case(other));
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(read.insert(name, value)),
                (Err(_), _) if is_ours => {
                    return Err(Error::new(Kind::Config, format!("the name of the variable {shown} is not UTF-8"))
                        .hint("unset it, and set it again under its right name"));
                }
                (_, Err(_)) if is_ours => {
                    return Err(Error::new(Kind::Config, format!("the variable {shown} is not UTF-8"))
                        .hint("set it again as UTF-8 text, or unset it"));
                }
                _ => {}
            }
        }
        Ok(Self(read))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns an XDG base directory: the value of the variable, or `fallback` in the home directory.
    pub(super) fn xdg(&self, variable: &str, fallback: &str) -> Option<PathBuf> {
        // The XDG specification says that a relative path must be ignored.
        self.path(variable)
            .filter(|path| path.is_absolute())
            .or_else(|| self.path("HOME").or_else(|| self.path("USERPROFILE")).map(|home| home.join(fallback)))
            .map(|base| base.join("recoup"))
    }

    /// Returns a secret from its variable, or from the file whose path is in `VARIABLE_FILE`. Setting both variables is
    /// an error.
    pub(super) fn secret(&self, name: &'static str, in_file: Option<PathBuf>) -> Result<Option<Secret>> {
        let file_name = format!("{name}_FILE");
        match (self.get(name), self.path(&file_name)) {
            (Some(_), Some(_)) => {
                Err(Error::new(Kind::Config, format!("both {name} and {file_name} are set")).hint("unset one of them"))
            }
            (Some(value), None) => Ok(Some(Secret::Variable(name, SecretString::from(value.to_owned())))),
            (None, Some(path)) => Ok(Some(Secret::File(path))),
            (None, None) => Ok(in_file.map(Secret::File)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_variable_of_recoup_s_that_is_not_utf_8_is_an_error_that_names_it_and_no_value() {
        let broken = || OsString::from_vec(b"Zq7\xff".to_vec());
        for name in ["RECOUP_TENANT", "RECOUP_AUTH_TOKEN", "RECOUP_ANYTHING", "HOME", "https_proxy", "XDG_DATA_HOME"] {
            let error = Environment::of([(OsString::from(name), broken())].into_iter()).expect_err(name);
            assert_eq!(error.kind, Kind::Config);
            assert!(error.message.contains(name) && !format!("{error:?}").contains("Zq7"), "{error:?}");
        }
        let name = OsString::from_vec(b"RECOUP_TEN\xe4NT".to_vec());
        assert!(Environment::of([(name, OsString::from("x"))].into_iter()).is_err());
        let others = [(OsString::from("LS_COLORS"), broken()), (OsString::from("HOME"), OsString::from("/h"))];
        assert_eq!(Environment::of(others.into_iter()).expect("none is read").get("HOME"), Some("/h"));
    }
}
