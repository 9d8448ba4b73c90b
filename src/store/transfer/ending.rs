//! How a move ends: the destination is used from then on, or the move is given up.

use super::marks::{MOVED_FROM, MOVED_TO, MOVING_FROM, Mark};
use super::{LAYOUTS, Progress, Survey, Transfer, data_tables, marks};
use crate::crash;
use crate::error::{Error, Kind, Result};
use crate::store::db::Conn;
use crate::store::{Layout, batch_parts, ledger};

impl Transfer {
    /// Lets the destination be used. Fails if the move was given up meanwhile. Repeats what a killed move has not done.
    pub fn complete(&self) -> Result<()> {
        let source = self.need(&self.from, &ledger::LAYOUT)?;
        let mark = source.read(|tx| Mark::read(tx, MOVED_TO))?.ok_or_else(given_up)?;
        let completing = Mark { is_completing: true, ..mark.clone() };
        source.write_durably(|tx| completing.write(tx, MOVED_TO))?;
        crash::point("move-completing");
        // The ledger is the first. Without it no command uses the destination, and after it the move cannot be undone.
        for layout in LAYOUTS {
            let conn = Conn::open_any(&self.to.place(layout), layout, &self.identity)?;
            conn.write_durably(|tx| {
                let incomplete = Mark::read(tx, MOVING_FROM)?;
                if incomplete.as_ref().is_some_and(|found| found.id != mark.id || found.is_abandoned) {
                    return Err(given_up().into());
                }
                let complete = Mark::read(tx, MOVED_FROM)?;
                if layout.name == ledger::LAYOUT.name
                    && incomplete.is_none()
                    && complete.is_none_or(|complete| complete.id != mark.id)
                {
                    return Err(self.lost().into());
                }
                if layout.name == ledger::LAYOUT.name && incomplete.is_some() {
                    // An earlier command came as far as this. The destination may have become complete and may have sent, and a
                    // failover or a restored backup may have lost that. Therefore a person compares it with the vendor first.
                    if mark.is_completing {
                        ledger::needs_acceptance(tx)?;
                    } else {
                        ledger::belongs_to_this_server(tx)?;
                    }
                    Mark { place: self.from.index.to_string(), ..mark.clone() }.write(tx, MOVED_FROM)?;
                }
                Mark::remove(tx, MOVING_FROM)
            })?;
            crash::point("move-completed");
        }
        Ok(())
    }

    /// Gives the move up: the destination can never become complete, and the source can be used again. Repeats what a killed
    /// call has not done.
    ///
    /// # Errors
    /// [`Kind::Identity`] if the move is complete, or if no move to this destination has begun.
    pub fn undo(&self) -> Result<Survey> {
        let none = || {
            Error::new(Kind::Identity, format!("no move from {} to {} has begun", self.from.index, self.to.index))
                .hint("there is nothing to undo")
        };
        let source = self.conn(&self.from, &ledger::LAYOUT)?.ok_or_else(none)?;
        let destination = self.conn(&self.to, &ledger::LAYOUT)?.ok_or_else(none)?;
        let ledger_id = source.read(ledger::id_of)?;
        let mark = source.read(|tx| Mark::read(tx, MOVED_TO))?;
        if let Some(mark) = mark.as_ref().filter(|mark| mark.place != self.to.index.to_string()) {
            return Err(marks::moved(mark));
        }
        let may_have_sent = || {
            Error::new(Kind::Identity, "the move is complete, and the destination may have sent since")
                .hint("move the stores back to a new place: `recoup move` works both ways")
        };
        if mark.is_some_and(|mark| mark.is_completing) {
            return Err(may_have_sent());
        }
        destination.write_durably(|tx| {
            if Mark::read(tx, MOVED_FROM)?.is_some_and(|complete| complete.ledger_id == ledger_id) {
                return Err(may_have_sent().into());
            }
            // The destination is marked before the source is sealed, so one without this mark has never been part of the move.
            let begun = Mark::read(tx, MOVING_FROM)?.filter(|begun| begun.ledger_id == ledger_id);
            let abandoned = Mark { is_abandoned: true, ..begun.ok_or_else(none)? };
            abandoned.write(tx, MOVING_FROM)
        })?;
        crash::point("move-abandoned");
        if let Some(conn) = self.batch_rows(&self.from)? {
            unseal(&conn, &batch_parts::LAYOUT)?;
        }
        // The ledger is released last. recoup sends nothing without a ledger, so it sends nothing before every store
        // can be used.
        for (layout, conn) in self.opened(&self.from)?.into_iter().rev() {
            unseal(&conn, layout)?;
            crash::point("move-unsealed");
        }
        self.count_rows(Progress::Begun)
    }

    /// The destination is marked before the source is sealed. If a sealed source has no marked destination, the move may have
    /// become complete at a place that is no longer there under this name, and may have sent. A second destination could send
    /// again.
    pub(super) fn lost(&self) -> Error {
        let (from, to) = (&self.from.index, &self.to.index);
        let message = format!("the stores at {from} were moved, and {to} is not the place that received them");
        Error::new(Kind::Identity, message).hint(
            "find the place that received them; if it is lost, restore its backup there, then run `recoup ledger accept`",
        )
    }
}

fn given_up() -> Error {
    Error::new(Kind::Identity, "this move was given up meanwhile; the source can be used again")
        .hint("name an empty destination to begin another move")
}

fn unseal(conn: &Conn, layout: &Layout) -> Result<()> {
    conn.write_durably(|tx| {
        tx.unseal(&data_tables(layout))?;
        Mark::remove(tx, MOVED_TO)
    })
}
