//! Moves all stores of a tenant to another place: from files to a server, or from a server to files.
//!
//! The steps are in an order in which at no moment both places can send:
//!
//! 1. The destination is marked as incomplete. No command opens it, and nothing is sent from it.
//! 2. The source is sealed. The engine refuses every change of its tables, so no process can record a request there.
//! 3. Rows are copied in the order of their keys. The source cannot change, so a killed copy continues after its last row.
//! 4. Every table is read again on both sides and compared, and the ledger's chain is computed again.
//! 5. One transaction removes the ledger's mark at the destination. From then on the destination can send, and the source never.
//!    The other stores of the destination follow.
//!
//! Before step 5 a move can be undone: the destination is marked as abandoned first, so that it can never become complete, and
//! only then the source is opened again.

mod batch_files;
mod ending;
mod marks;
mod rows;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::db::{Conn, DbError, Patience, Table, Tx, bytes_of, tables};
use super::ledger::{self, Head};
use super::notices::NoticeQueue;
use super::{Identity, Layout, Place, ProcessLock, access, batch_parts, index, notices, random};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::model::hex;

use batch_files::BatchFiles;
pub(super) use marks::refuse_moved;
use marks::{MOVED_FROM, MOVED_TO, MOVING_FROM, Mark};

/// The stores of one side.
#[derive(Debug, Clone)]
pub struct Stores {
    pub index: Place,
    pub ledger: Place,
    pub access: Place,
}

impl Stores {
    fn place(&self, layout: &Layout) -> Place {
        match layout.name {
            name if name == index::LAYOUT.name => self.index.clone(),
            name if name == access::LAYOUT.name => self.access.clone(),
            name if name == notices::LAYOUT.name => NoticeQueue::beside(&self.ledger),
            _ => self.ledger.clone(),
        }
    }

    /// Returns the folder of the batches; `None` if they are rows.
    fn batch_folder(&self) -> Option<BatchFiles> {
        self.ledger.path().map(|ledger| BatchFiles(super::batches_beside(ledger)))
    }
}

/// Every store but the batches, which are files in a folder on one side.
const LAYOUTS: [&Layout; 4] = [&ledger::LAYOUT, &index::LAYOUT, &access::LAYOUT, &notices::LAYOUT];

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing was changed yet.
    New,
    /// The source is sealed, and the destination is incomplete.
    Begun,
    /// The destination is in use.
    Complete,
}

/// The rows of one table.
#[derive(Debug, Clone, Serialize)]
pub struct TableCount {
    pub store: &'static str,
    pub table: String,
    pub rows: u64,
}

/// What a move has to do.
#[derive(Debug, Clone, Serialize)]
pub struct Survey {
    pub progress: Progress,
    pub tables: Vec<TableCount>,
    pub events: u64,
    pub head: Head,
}

impl Survey {
    /// The number of rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|count| count.rows).sum()
    }
}

/// A move between two places. Holds the locks of the source, so no crawl and no retraction runs there.
#[derive(Debug)]
pub struct Transfer {
    from: Stores,
    to: Stores,
    identity: Identity,
    _locks: Vec<ProcessLock>,
}

impl Transfer {
    /// Takes the locks of the source. Changes nothing else.
    ///
    /// # Errors
    /// [`Kind::Usage`] if both sides are one place or the source has no store; [`Kind::Busy`] if a crawl, a retraction or another
    /// move uses the source.
    pub fn new(from: Stores, to: Stores) -> Result<Self> {
        let places = |stores: &Stores| LAYOUTS.map(|layout| stores.place(layout));
        if LAYOUTS.iter().any(|layout| from.place(layout) == to.place(layout)) {
            let message = format!("{} and {} have a store in common", from.index, to.index);
            return Err(Error::new(Kind::Usage, message).hint("name two places that share no file and no schema"));
        }
        if places(&from).iter().all(Place::is_server) && places(&to).iter().all(Place::is_server) {
            // A copy between servers is the server's own work, and keeps more than recoup knows.
            return Err(Error::new(
                Kind::Usage,
                "both places are servers, and recoup moves between files and a server",
            )
            .hint("use pg_dump and pg_restore, then `recoup ledger accept`"));
        }
        let identity = owner_of(&from)?.ok_or_else(|| {
            Error::new(Kind::NotIndexed, format!("there is no store at {}", from.index))
                .hint("name the file of the index, or the address of the server with its schema")
        })?;
        let mut locks = Vec::new();
        for (place, purpose) in [(&from.ledger, "send"), (&from.index, "crawl")] {
            let lock = ProcessLock::try_take(place, purpose)?;
            locks.push(lock.ok_or_else(|| {
                Error::new(Kind::Busy, format!("the stores at {place} are in use ({purpose})"))
                    .hint("stop the service, crawls and retractions there, then run the same command again")
            })?);
        }
        Ok(Self { from, to, identity, _locks: locks })
    }

    /// Reads how far the move is, and what there is to copy. Changes nothing.
    ///
    /// # Errors
    /// [`Kind::Identity`] if the source moves to another place or is a copy that no person has accepted, or if the destination is
    /// not empty and no move from this source has begun there; [`Kind::Tampered`] if the ledger's chain has a fault.
    pub fn survey(&self) -> Result<Survey> {
        let progress = self.progress()?;
        self.count_rows(progress)
    }

    fn count_rows(&self, progress: Progress) -> Result<Survey> {
        let mut counts = Vec::new();
        for (layout, conn) in self.opened(&self.from)? {
            for table in data_tables(layout) {
                let rows = conn.read(|tx| count(tx, &table))?;
                counts.push(TableCount { store: layout.name, table: table.name, rows });
            }
        }
        let batches = match self.from.batch_folder() {
            Some(folder) => folder.names()?.len() as u64,
            None => self.batch_rows(&self.from)?.map_or(Ok(0), |conn| conn.read(|tx| count(tx, &parts_table())))?,
        };
        counts.push(TableCount { store: batch_parts::LAYOUT.name, table: "parts".to_owned(), rows: batches });
        let (events, head) = match self.conn(&self.from, &ledger::LAYOUT)? {
            Some(conn) => Self::audit(&conn, "source")?,
            None => (0, Head { sequence: 0, hash: String::new() }),
        };
        Ok(Survey { progress, tables: counts, events, head })
    }

    fn progress(&self) -> Result<Progress> {
        let Some(source) = self.conn(&self.from, &ledger::LAYOUT)? else {
            self.check_ledger_of_index(None)?;
            self.refuse_filled()?;
            return Ok(Progress::New);
        };
        let Some(mark) = source.read(|tx| Mark::read(tx, MOVED_TO))? else {
            source.read(ledger::refuse_copy_of)?;
            self.check_ledger_of_index(Some(&source))?;
            self.refuse_filled()?;
            return Ok(Progress::New);
        };
        if mark.place != self.to.index.to_string() {
            return Err(marks::moved(&mark));
        }
        let Some(destination) = self.conn(&self.to, &ledger::LAYOUT)? else { return Err(self.lost()) };
        let (moving, complete) =
            destination.read(|tx| Ok((Mark::read(tx, MOVING_FROM)?, Mark::read(tx, MOVED_FROM)?)))?;
        match (moving, complete) {
            (Some(other), _) if other.id != mark.id || other.is_abandoned => Err(self.other_move()),
            (Some(_), _) => Ok(Progress::Begun),
            (None, Some(complete)) if complete.id == mark.id => Ok(Progress::Complete),
            (None, _) => Err(self.lost()),
        }
    }

    /// Fails if the index of the source was used with another ledger, which this move would leave behind.
    fn check_ledger_of_index(&self, ledger: Option<&Conn>) -> Result<()> {
        let Some(index) = self.conn(&self.from, &index::LAYOUT)? else { return Ok(()) };
        let Some(known) = index.read(index::ledger_id_of)? else { return Ok(()) };
        if ledger.map(|conn| conn.read(ledger::id_of)).transpose()?.is_some_and(|id| id == known) {
            return Ok(());
        }
        let message = format!("the ledger that was used with {} is not at {}", self.from.index, self.from.ledger);
        Err(Error::new(Kind::Identity, message).hint("name it with RECOUP_LEDGER for this command, then run it again"))
    }

    /// Fails if a table of the destination has a row.
    fn refuse_filled(&self) -> Result<()> {
        for (layout, conn) in self.opened(&self.to)? {
            if conn.read(|tx| Mark::read(tx, MOVED_TO))?.is_some() {
                return Err(self.filled(layout.name, "the mark of an earlier move"));
            }
            for table in data_tables(layout) {
                if conn.read(|tx| count(tx, &table))? > 0 {
                    return Err(self.filled(layout.name, &table.name));
                }
            }
        }
        let has_batches = match self.to.batch_folder() {
            Some(folder) => !folder.names()?.is_empty(),
            None => match self.batch_rows(&self.to)? {
                Some(conn) => conn.read(|tx| count(tx, &parts_table()))? > 0,
                None => false,
            },
        };
        if has_batches { Err(self.filled(batch_parts::LAYOUT.name, "parts")) } else { Ok(()) }
    }

    /// Marks the destination and seals the source. Repeats what a killed move has not done.
    pub fn begin(&self, at: Timestamp) -> Result<()> {
        // The destination is created first, so that one that cannot be written does not leave the source sealed.
        let destination = LAYOUTS.iter().map(|layout| Conn::open_any(&self.to.place(layout), layout, &self.identity));
        let destination = destination.collect::<Result<Vec<Conn>>>()?;
        if self.to.batch_folder().is_none() {
            Conn::open_any(&self.to.ledger, &batch_parts::LAYOUT, &self.identity)?;
        }
        // A source without a ledger gets an empty one, because a later one could send.
        let source = ledger::create_for_transfer(Conn::open_any(&self.from.ledger, &ledger::LAYOUT, &self.identity)?)?;
        let ledger_id = source.read(ledger::id_of)?;
        let sealed = source.read(|tx| Mark::read(tx, MOVED_TO))?;
        let marked = destination.first().map_or(Ok(None), |conn| conn.read(|tx| Mark::read(tx, MOVING_FROM)))?;
        // An earlier command may have marked the destination and not sealed the source.
        let earlier = sealed.or(marked.filter(|mark| mark.ledger_id == ledger_id && !mark.is_abandoned));
        let new = || {
            Ok::<_, Error>(Mark {
                id: hex(&random::<16>()?),
                ledger_id,
                place: String::new(),
                at: format!("{at:.0}"),
                is_abandoned: false,
                is_completing: false,
            })
        };
        let mark = earlier.map_or_else(new, Ok)?;
        // Marked before the source is sealed, so that no process sends from a destination that is about to be filled.
        let incomplete = Mark { place: self.from.index.to_string(), ..mark.clone() };
        for (conn, layout) in destination.iter().zip(LAYOUTS) {
            conn.write(|tx| self.mark_incomplete(tx, layout, &incomplete))?;
        }
        crash::point("move-marked");
        let mark = Mark { place: self.to.index.to_string(), ..mark };
        seal(&source, &ledger::LAYOUT, &mark)?;
        crash::point("move-sealed");
        for (layout, conn) in self.opened(&self.from)? {
            seal(&conn, layout, &mark)?;
        }
        if let Some(conn) = self.batch_rows(&self.from)? {
            seal(&conn, &batch_parts::LAYOUT, &mark)?;
        }
        Ok(())
    }

    /// Marks a store of the destination, unless this move has marked it. Nothing else may use or fill it meanwhile.
    fn mark_incomplete(&self, tx: &Tx<'_>, layout: &Layout, mark: &Mark) -> Result<(), DbError> {
        if let Some(known) = Mark::read(tx, MOVING_FROM)? {
            return if known.id == mark.id && !known.is_abandoned { Ok(()) } else { Err(self.other_move().into()) };
        }
        for table in data_tables(layout) {
            if count(tx, &table)? > 0 {
                return Err(self.filled(layout.name, &table.name).into());
            }
        }
        mark.write(tx, MOVING_FROM)
    }

    fn other_move(&self) -> Error {
        let message = format!("a move to {} was begun and given up, or it came from another place", self.to.index);
        Error::new(Kind::Identity, message).hint(
            "name an empty destination: another schema or another file; if the source is still sealed, add --undo first",
        )
    }

    fn filled(&self, name: &str, table: &str) -> Error {
        let message = format!("the destination {} is not empty: {table} of the {name} has rows", self.to.index);
        Error::new(Kind::Identity, message)
            .hint("name an empty destination: another schema, or a file that does not exist yet")
    }

    /// Copies what the destination does not have yet. `copied` receives the number of rows that are there; an error of it ends the
    /// copy, and the next one continues.
    pub fn copy(&self, copied: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let mut sum = 0;
        for (layout, source) in self.opened(&self.from)? {
            let destination = Conn::open_any(&self.to.place(layout), layout, &self.identity)?;
            for table in data_tables(layout) {
                sum = rows::copy(&source, &destination, &table, sum, copied)?;
            }
            rows::copy_identity(&source, &destination)?;
            destination.write(|tx| tx.number_after_copy(&data_tables(layout)))?;
            destination.checkpoint();
        }
        self.copy_batches(sum, copied)
    }

    fn copy_batches(&self, mut sum: u64, copied: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        match (self.from.batch_folder(), self.to.batch_folder()) {
            (Some(folder), None) => {
                let rows = Conn::open_any(&self.to.ledger, &batch_parts::LAYOUT, &self.identity)?;
                for (id, part) in folder.names()? {
                    batch_files::put(&rows, &id, &part, &folder.read(&id, &part)?)?;
                    sum += 1;
                    copied(sum)?;
                }
                Ok(())
            }
            (None, Some(folder)) => {
                let Some(rows) = self.batch_rows(&self.from)? else { return Ok(()) };
                for (id, part) in batch_files::names_of(&rows)? {
                    folder.write(&id, &part, &batch_files::get(&rows, &id, &part)?)?;
                    sum += 1;
                    copied(sum)?;
                }
                Ok(())
            }
            (Some(from), Some(to)) => from.names()?.iter().try_for_each(|(id, part)| {
                to.write(id, part, &from.read(id, part)?)?;
                sum += 1;
                copied(sum)
            }),
            (None, None) => Ok(()),
        }
    }

    /// Compares every table and every batch of both sides, and computes the ledger's chain again at the destination.
    ///
    /// # Errors
    /// [`Kind::Storage`] if anything differs.
    pub fn compare(&self) -> Result<Survey> {
        let mut counts = Vec::new();
        for (layout, source) in self.opened(&self.from)? {
            let destination = Conn::open_any(&self.to.place(layout), layout, &self.identity)?;
            for table in data_tables(layout) {
                let (from, to) = (digest(&source, &table)?, digest(&destination, &table)?);
                if from != to {
                    return Err(differs(layout.name, &table.name, &from, &to));
                }
                counts.push(TableCount { store: layout.name, table: table.name, rows: from.rows });
            }
            if layout.name == index::LAYOUT.name
                && let Some(finding) = destination.read(index::first_damage)?
            {
                return Err(super::damaged(layout, destination.place(), &finding));
            }
        }
        let (from, to) = (self.batch_digest(&self.from)?, self.batch_digest(&self.to)?);
        if from != to {
            return Err(differs(batch_parts::LAYOUT.name, "parts", &from, &to));
        }
        let batches = TableCount { store: batch_parts::LAYOUT.name, table: "parts".to_owned(), rows: from.rows };
        counts.push(batches);
        let source = self.need(&self.from, &ledger::LAYOUT)?;
        let destination = self.need(&self.to, &ledger::LAYOUT)?;
        let (of_source, of_destination) = (Self::audit(&source, "source")?, Self::audit(&destination, "destination")?);
        if of_source != of_destination {
            let message = format!(
                "the ledger at the destination ends with event {}, and the source with event {}",
                of_destination.1.sequence, of_source.1.sequence
            );
            return Err(
                Error::new(Kind::Storage, message).hint("nothing is sent from either; keep both and ask for help")
            );
        }
        let (events, head) = of_destination;
        Ok(Survey { progress: Progress::Begun, tables: counts, events, head })
    }

    /// Opens every store of a side that exists. The ledger is the first.
    fn opened(&self, stores: &Stores) -> Result<Vec<(&'static Layout, Conn)>> {
        let open = |layout: &&'static Layout| Ok(self.conn(stores, layout)?.map(|conn| (*layout, conn)));
        LAYOUTS.iter().filter_map(|layout| open(layout).transpose()).collect()
    }

    fn conn(&self, stores: &Stores, layout: &'static Layout) -> Result<Option<Conn>> {
        Conn::open_existing_any(&stores.place(layout), layout, Some(&self.identity), Patience::Usual)
    }

    fn need(&self, stores: &Stores, layout: &'static Layout) -> Result<Conn> {
        self.conn(stores, layout)?.ok_or_else(|| {
            Error::new(Kind::Storage, format!("there is no {} at {}", layout.name, stores.place(layout)))
                .hint("run the same command again")
        })
    }

    /// Returns the batches of a server; `None` for files.
    fn batch_rows(&self, stores: &Stores) -> Result<Option<Conn>> {
        if stores.batch_folder().is_some() {
            return Ok(None);
        }
        Conn::open_existing_any(&stores.ledger, &batch_parts::LAYOUT, Some(&self.identity), Patience::Usual)
    }

    fn batch_digest(&self, stores: &Stores) -> Result<Digest> {
        match (stores.batch_folder(), self.batch_rows(stores)?) {
            (Some(folder), _) => folder.digest(),
            (None, Some(rows)) => digest(&rows, &parts_table()),
            (None, None) => Ok(Digest::of(Context::new(&SHA256), 0)),
        }
    }

    fn audit(conn: &Conn, side: &str) -> Result<(u64, Head)> {
        let audit = conn.read(ledger::audit_of)?;
        match audit.faults.first() {
            None => Ok((audit.events, audit.head)),
            Some(fault) => Err(Error::new(
                Kind::Tampered,
                format!("the ledger at the {side} ({}) is not what was written: {}", conn.place(), fault.what),
            )
            .hint("nothing is sent from it; run `recoup audit verify`, and restore the newest intact copy")),
        }
    }
}

fn differs(store: &str, table: &str, from: &Digest, to: &Digest) -> Error {
    let what = if from.rows == to.rows { "other values".to_owned() } else { format!("{} rows", to.rows) };
    let message = format!("{table} of the {store} has {} rows at the source and {what} at the destination", from.rows);
    Error::new(Kind::Storage, message)
        .hint("nothing is sent from either place; run `recoup move --undo` with the same places, and use the source")
}

/// The number of rows of a table, and a hash over all of them in the order of their keys.
#[derive(Debug, PartialEq, Eq)]
struct Digest {
    rows: u64,
    hash: Vec<u8>,
}

impl Digest {
    fn of(context: Context, rows: u64) -> Self {
        Self { rows, hash: context.finish().as_ref().to_vec() }
    }
}

fn digest(conn: &Conn, table: &Table) -> Result<Digest> {
    conn.read(|tx| {
        let (mut context, mut rows) = (Context::new(&SHA256), 0);
        tx.each(&table.select_all(), &[], |row| {
            for column in 0..table.columns.len() {
                let value = row.value(column)?.ok_or_else(|| DbError::Damaged("a text is not UTF-8".to_owned()))?;
                context.update(&bytes_of(value));
            }
            rows += 1;
            Ok(())
        })?;
        Ok(Digest::of(context, rows))
    })
}

fn count(tx: &Tx<'_>, table: &Table) -> Result<u64, DbError> {
    tx.one(&format!("SELECT count(*) FROM {}", table.name), &[], |row| row.get(0))
}

/// The tables of a store but `identity`, whose rows differ on the two sides.
fn data_tables(layout: &Layout) -> Vec<Table> {
    tables(layout.schema).into_iter().filter(|table| table.name != "identity").collect()
}

fn parts_table() -> Table {
    data_tables(&batch_parts::LAYOUT).remove(0)
}

/// Returns the tenant of the stores, from the ledger or the index.
fn owner_of(stores: &Stores) -> Result<Option<Identity>> {
    for layout in [&ledger::LAYOUT, &index::LAYOUT] {
        let Some(conn) = Conn::open_existing_any(&stores.place(layout), layout, None, Patience::Usual)? else {
            continue;
        };
        let identity = conn.read(|tx| {
            let value = |key: &str| tx.one("SELECT value FROM identity WHERE key = ?1", &[&key], |row| row.get(0));
            Ok(Identity {
                tenant: value("tenant")?,
                account_sid: value("account_sid")?,
                advocate_url: value("advocate_url")?,
                brand_url: value("brand_url")?,
            })
        })?;
        return Ok(Some(identity));
    }
    Ok(None)
}

/// Makes the engine refuse every change of a store, and says where it went. Does nothing if it is sealed already.
fn seal(conn: &Conn, layout: &Layout, mark: &Mark) -> Result<()> {
    conn.write_durably(|tx| {
        if Mark::read(tx, MOVED_TO)?.is_some() {
            return Ok(());
        }
        mark.write(tx, MOVED_TO)?;
        tx.seal(&data_tables(layout))
    })
}
