//! Replaces `postgres` in a build without the feature `postgres`: an address of a server is an error.
//!
//! No value of these types exists, so no method of them runs.

use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::bulk::{Bulk, Column, Keys};
use super::place::is_like_an_address;
use super::server_facts::ServerFacts;
use super::{DbError, Identity, Layout, Patience, ToValue, Tx, Value};
use crate::clock::Clock;
use crate::error::{Error, Result as Outcome};

/// A PostgreSQL server.
#[derive(Clone, PartialEq, Eq)]
pub enum Server {}

impl Server {
    /// Returns `true` if a text is an address and not the path of a file. [`Server::parse`] refuses it then.
    pub fn is_address(text: &str) -> bool {
        is_like_an_address(text.as_ref())
    }

    /// Fails if a text is an address and not the path of a file.
    ///
    /// # Errors
    /// The error does not repeat the text, which may hold a password.
    pub fn check_path(text: &OsStr) -> Outcome<()> {
        if is_like_an_address(text) { Err(left_out()) } else { Ok(()) }
    }

    pub fn has_password(&self) -> bool {
        match *self {}
    }

    pub(in crate::store) fn schema(&self, _store: &str) -> String {
        match *self {}
    }

    pub(in crate::store) fn facts(&self, _layouts: &[&Layout], _clock: &Clock) -> Result<ServerFacts, DbError> {
        match *self {}
    }

    /// # Errors
    /// Always, because this build has no client for a server. The error does not repeat the address, which may hold a password.
    pub fn parse(_url: SecretString) -> Outcome<Self> {
        Err(left_out())
    }
}

fn left_out() -> Error {
    Error::left_out("stores on a PostgreSQL server", "postgres")
}

impl fmt::Display for Server {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// A lock on a server.
#[derive(Debug)]
pub enum ServerLock {}

impl ServerLock {
    pub fn try_take(server: &Arc<Server>, _layout: &Layout, _name: &str) -> Result<Option<Self>, DbError> {
        match **server {}
    }

    pub fn is_free(server: &Arc<Server>, _layout: &Layout, _name: &str) -> Result<bool, DbError> {
        match **server {}
    }

    pub fn is_held(&self) -> bool {
        match *self {}
    }
}

/// An open store on a server.
#[derive(Debug)]
pub enum Session {}

impl Session {
    pub fn open_writer(server: &Arc<Server>, _layout: &Layout, _identity: &Identity) -> Result<Self, DbError> {
        match **server {}
    }

    pub fn open_existing(
        server: &Arc<Server>,
        _layout: &Layout,
        _identity: Option<&Identity>,
    ) -> Result<Option<Self>, DbError> {
        match **server {}
    }

    pub fn read<T>(&self, _patience: Patience, _work: impl FnMut(&Tx<'_>) -> Result<T, DbError>) -> Result<T, DbError> {
        match *self {}
    }

    pub fn write<T>(
        &self,
        _patience: Patience,
        _work: impl FnMut(&Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match *self {}
    }

    pub fn try_to_write(&self, _patience: Patience) -> Result<(), DbError> {
        match *self {}
    }

    pub fn rewrite(&self) -> Result<(), DbError> {
        match *self {}
    }

    pub fn fence(&self, _lock: &ServerLock) {
        match *self {}
    }

    pub fn interrupter(&self) -> fn() {
        match *self {}
    }
}

/// A transaction on a server.
pub enum PgTx {}

impl PgTx {
    pub fn run(&self, _sql: &str, _args: &[&dyn ToValue]) -> Result<u64, DbError> {
        match *self {}
    }

    pub fn rows(&self, _sql: &str, _args: &[&dyn ToValue]) -> Result<Vec<PgRow>, DbError> {
        match *self {}
    }

    pub fn each(
        &self,
        _sql: &str,
        _args: &[&dyn ToValue],
        _read: impl FnMut(&PgRow) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        match *self {}
    }

    pub fn instance(&self) -> Result<String, DbError> {
        match *self {}
    }

    pub fn later(&self, _bulk: &'static Bulk, _args: &[&dyn ToValue]) -> Result<(), DbError> {
        match *self {}
    }

    pub fn run_many(&self, _bulk: &'static Bulk, _rows: &[Vec<&dyn ToValue>]) -> Result<u64, DbError> {
        match *self {}
    }

    pub fn run_columns(&self, _bulk: &Bulk, _columns: &[Column]) -> Result<u64, DbError> {
        match *self {}
    }

    pub fn rows_in(&self, _sql: &str, _keys: Keys<'_>) -> Result<Vec<PgRow>, DbError> {
        match *self {}
    }
}

/// A row of a query on a server.
pub enum PgRow {}

pub fn value(row: &PgRow, _column: usize) -> Result<Option<Value<'_>>, DbError> {
    match *row {}
}

pub fn column_name(row: &PgRow, _column: usize) -> &str {
    match *row {}
}
