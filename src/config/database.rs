//! The place of the stores: local files, or a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::{Environment, GlobalFlags, Settings};
use crate::error::{Error, Kind, Result};
use crate::store::transfer::Stores;
use crate::store::{Place, Server, access_beside, check_length, ledger_beside, real_path};

/// The parts of the configuration file that set the places of the stores.
pub(super) struct Named {
    pub database: Option<PathBuf>,
    pub database_file: Option<PathBuf>,
    pub ledger: Option<PathBuf>,
    pub access: Option<PathBuf>,
}

/// The places of the index, the ledger and the users' database.
pub(super) struct Places {
    pub database: Place,
    pub ledger: Place,
    pub access: Place,
}

impl Places {
    pub(super) fn of(global: &GlobalFlags, env: &Environment, named: Named) -> Result<Self> {
        let Named { database, database_file, ledger, access } = named;
        let ledger = env.path("RECOUP_LEDGER").or(ledger);
        let access = env.path("RECOUP_ACCESS").or(access);
        for (path, setting) in [(&ledger, "RECOUP_LEDGER (ledger)"), (&access, "RECOUP_ACCESS (access)")] {
            check_path(path.as_deref(), setting)?;
        }
        if let Some(server) = server(global, env, database.as_ref(), database_file)? {
            if ledger.is_some() || access.is_some() {
                return Err(Error::new(
                    Kind::Config,
                    "a ledger or an access file is set, and the stores are on a server",
                )
                .hint("unset RECOUP_LEDGER and RECOUP_ACCESS: on a server all stores are in one database"));
            }
            let place = Place::Server(Arc::new(server));
            return Ok(Self { database: place.clone(), ledger: place.clone(), access: place });
        }
        let default_database = || {
            let name = global.profile.as_ref().map_or("recoup.db".to_owned(), |name| format!("recoup-{name}.db"));
            env.xdg("XDG_DATA_HOME", ".local/share").map(|dir| dir.join(name)).ok_or_else(|| {
                Error::new(Kind::Config, "there is no home directory for the database")
                    .hint("name a file with --database or RECOUP_DATABASE")
            })
        };
        let database = match global.database.clone().or_else(|| env.path("RECOUP_DATABASE")).or(database) {
            Some(path) => path,
            None => default_database()?,
        };
        let database = real_path(&database);
        // A configured ledger serves every index, because one company has one ledger.
        let ledger = real_path(&ledger.unwrap_or_else(|| ledger_beside(&database)));
        if ledger == database {
            return Err(Error::new(Kind::Config, "the ledger and the index cannot be one file")
                .hint("set RECOUP_LEDGER to another file"));
        }
        let access = access.unwrap_or_else(|| access_beside(&ledger));
        check_length(&database, "index", "--database or RECOUP_DATABASE")?;
        check_length(&ledger, "ledger", "RECOUP_LEDGER (by default it is beside the index)")?;
        check_length(&access, "users", "RECOUP_ACCESS (by default it is beside the ledger)")?;
        Ok(Self { database: database.into(), ledger: ledger.into(), access: access.into() })
    }
}

/// Returns the PostgreSQL server if the effective setting names one. A flag overrides an environment variable, which
/// overrides the configuration file.
fn server(
    global: &GlobalFlags,
    env: &Environment,
    in_file: Option<&PathBuf>,
    file_in_file: Option<PathBuf>,
) -> Result<Option<Server>> {
    let both = |one: &str, other: &str| {
        Err(Error::new(Kind::Config, format!("both {one} and {other} are set")).hint("unset one of them"))
    };
    if let Some(flag) = &global.database {
        return public(flag, "--database");
    }
    match (env.get("RECOUP_DATABASE"), env.path("RECOUP_DATABASE_FILE")) {
        (Some(_), Some(_)) => return both("RECOUP_DATABASE", "RECOUP_DATABASE_FILE"),
        (Some(text), None) => return in_setting(Path::new(text), "RECOUP_DATABASE"),
        (None, Some(path)) => return read(&path, "RECOUP_DATABASE_FILE").map(Some),
        (None, None) => {}
    }
    match (in_file, file_in_file) {
        (Some(_), Some(_)) => both("database", "database_file"),
        (Some(text), None) => public(text, "recoup.toml"),
        (None, Some(path)) => read(&path, "database_file in recoup.toml").map(Some),
        (None, None) => Ok(None),
    }
}

/// Returns the stores at a place that a person names on the command line: the file of an index, the address of a server without a
/// password, or `@FILE` with either of them in it.
///
/// # Errors
/// [`Kind::Config`] if the text or the file names no place. The error repeats no address.
pub fn stores_at(text: &str, settings: &Settings) -> Result<Stores> {
    let place = match text.strip_prefix('@') {
        Some(path) => place_in(Path::new(path))?,
        None => match public(Path::new(text), "the command line")? {
            Some(server) => Place::Server(Arc::new(server)),
            None => file_at(text)?,
        },
    };
    let Place::File(index) = &place else {
        return Ok(Stores { index: place.clone(), ledger: place.clone(), access: place });
    };
    if place == settings.database {
        return Ok(Stores { index: place, ledger: settings.ledger.clone(), access: settings.access.clone() });
    }
    let ledger = ledger_beside(index);
    let access = access_beside(&ledger);
    Ok(Stores { index: place, ledger: ledger.into(), access: access.into() })
}

fn place_in(path: &Path) -> Result<Place> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(Kind::Config, format!("the file of the place, {}, cannot be read: {error}", path.display()))
            .hint("write the address of a server or the path of an index into it, on one line")
    })?;
    let text = text.trim();
    if Server::is_address(text) {
        return Server::parse(SecretString::from(text.to_owned())).map(|server| Place::Server(Arc::new(server)));
    }
    file_at(text)
}

fn file_at(text: &str) -> Result<Place> {
    if text.is_empty() {
        return Err(Error::new(Kind::Config, "FROM or TO names no place")
            .hint("write postgres://USER@HOST/DATABASE?schema=NAME, or the path of an index"));
    }
    check_path(Some(Path::new(text)), "FROM or TO")?;
    let path = real_path(Path::new(text));
    check_length(&path, "index", "FROM or TO")?;
    Ok(path.into())
}

/// Reads a setting that holds an address or the path of a file; returns `None` for a path.
fn in_setting(setting: &Path, place: &str) -> Result<Option<Server>> {
    let Some(address) = setting.to_str().filter(|text| Server::is_address(text)) else {
        return check_path(Some(setting), place).map(|()| None);
    };
    Server::parse(SecretString::from(address.to_owned())).map(Some)
}

/// Fails if a setting that must be a path looks like an address. The error does not repeat the setting, which may hold a
/// password.
fn check_path(path: Option<&Path>, place: &str) -> Result<()> {
    path.map_or(Ok(()), |path| Server::check_path(path.as_os_str())).map_err(|error| error.context(place))
}

/// Reads a database address, which must not contain a password because other people may see the setting.
fn public(setting: &Path, place: &str) -> Result<Option<Server>> {
    let Some(server) = in_setting(setting, place)? else { return Ok(None) };
    if server.has_password() {
        return Err(Error::new(
            Kind::Config,
            format!("the address in {place} holds a password, which others can read"),
        )
        .hint("set RECOUP_DATABASE, or write the address into a file and name it with RECOUP_DATABASE_FILE"));
    }
    Ok(Some(server))
}

fn read(path: &Path, place: &str) -> Result<Server> {
    check_path(Some(path), place)?;
    let failed = |what: String| {
        Error::new(Kind::Config, format!("the file of the database address, {}, {what}", path.display()))
            .hint("write an address like postgres://USER:PASSWORD@HOST/DATABASE into it, on one line")
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let address = text.trim();
    if !Server::is_address(address) {
        return Err(failed("holds no address of a PostgreSQL server".to_owned()));
    }
    Server::parse(SecretString::from(address.to_owned()))
}
