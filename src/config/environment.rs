//! The environment, read once and in one place, so that a test can bring its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::api::Secret;
use crate::error::{Error, Kind, Result};

/// What the environment says, injectable.
#[derive(Debug, Clone, Default)]
pub struct Environment(pub(super) BTreeMap<String, String>);

impl Environment {
    /// The process's environment. Variables that are not Unicode are left out.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// An XDG base directory: the variable, or a folder of the home directory.
    pub(super) fn xdg(&self, variable: &str, fallback: &str) -> Option<PathBuf> {
        // A relative path in an XDG variable is to be ignored, says the specification.
        self.path(variable)
            .filter(|path| path.is_absolute())
            .or_else(|| self.path("HOME").or_else(|| self.path("USERPROFILE")).map(|home| home.join(fallback)))
            .map(|base| base.join("recoup"))
    }

    /// A secret by its variable or by the file that `VARIABLE_FILE` names; both at once is a mistake.
    pub(super) fn secret(&self, name: &'static str, in_file: Option<PathBuf>) -> Result<Option<Secret>> {
        let file_name = format!("{name}_FILE");
        match (self.get(name), self.path(&file_name)) {
            (Some(_), Some(_)) => Err(Error::new(Kind::Config, format!("both {name} and {file_name} are set"))
                .hint("unset one of them: which one is meant cannot be told")),
            (Some(value), None) => Ok(Some(Secret::Variable(name, SecretString::from(value.to_owned())))),
            (None, Some(path)) => Ok(Some(Secret::File(path))),
            (None, None) => Ok(in_file.map(Secret::File)),
        }
    }
}
