//! The rows of an export, read from a file one batch at a time.
//!
//! Column names are not published, so they are taken by what they say, in any case and with any separator. A file that is
//! no CSV, or whose rows have other lengths than its header, is an error: half a list must not pass for a list.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::{AccountId, LinkKind, RewardId};

/// What the columns of a file are good for.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Their names, in order; that of the reward's ID is `id`.
    pub(super) header: Vec<String>,
    account: Option<usize>,
    modified: Option<usize>,
    /// Their names without case and separators.
    folded: Vec<String>,
    /// Rows name the account.
    pub(super) has_accounts: bool,
    /// Rows say when they were modified.
    pub(super) has_moments: bool,
    /// Rows carry order ID and ActionId, so that they are the rewards themselves.
    pub(super) is_direct: bool,
    /// Rows say which reward they are of, when that was modified, and what state it is in.
    pub(super) can_compare: bool,
}

impl Columns {
    /// Whether there is a column of this name, without case and separators.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folded.iter().any(|found| found == name)
    }

    #[cfg(test)]
    pub(super) fn named(header: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, header.as_bytes()).expect("written");
        rows(file).and_then(|mut rows| rows.columns(&Mapping::default())).expect("a header")
    }
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) account: Option<AccountId>,
    /// Unix milliseconds.
    pub(super) date_modified: Option<i64>,
    cells: Vec<String>,
}

impl Row {
    /// The reward that it is about, where a column says so.
    pub(super) fn reward_id(&self, header: &[String]) -> Option<RewardId> {
        let at = header.iter().position(|name| name == "id")?;
        self.cells.get(at).filter(|cell| !cell.is_empty()).map(|cell| RewardId::new(cell.as_str()))
    }

    /// The row as a reward's JSON: one text for each cell that is not empty.
    pub(super) fn json(&self, header: &[String]) -> String {
        let filled = header.iter().zip(&self.cells).filter(|(_, cell)| !cell.is_empty());
        let map: Map<String, Value> = filled.map(|(name, cell)| (name.clone(), Value::from(cell.as_str()))).collect();
        Value::Object(map).to_string()
    }
}

/// A file that is being read.
pub(super) struct Rows(csv::Reader<BufReader<File>>);

/// Opens the file at its first byte.
pub(super) fn rows(mut file: File) -> Result<Rows> {
    file.seek(SeekFrom::Start(0))
        .map_err(|error| Error::new(Kind::Storage, format!("failed to read the export again: {error}")))?;
    Ok(Rows(csv::ReaderBuilder::new().from_reader(BufReader::new(file))))
}

impl Rows {
    /// What the header says.
    pub(super) fn columns(&mut self, mapping: &Mapping) -> Result<Columns> {
        let names: Vec<String> = self.0.headers().map_err(|error| broken(&error))?.iter().map(str::to_owned).collect();
        let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err(Error::new(Kind::Vendor, "the export has two columns of one name"));
        }
        let find = |wanted: &[&str]| wanted.iter().find_map(|name| folded.iter().position(|found| found == name));
        let account = find(&["accountid", "useraccountid", "account"]);
        let modified = find(&["datemodified", "modified", "lastmodified", "datelastmodified"]);
        let mut header = names;
        let id = find(&["id", "rewardid"]);
        if let Some(id) = id {
            "id".clone_into(&mut header[id]);
        }
        // A row in which every cell says something shows what a row can carry.
        let sample: Map<String, Value> = header.iter().map(|name| (name.clone(), Value::from("1.2.3"))).collect();
        let sample = extract::read(&Value::Object(sample).to_string(), &AccountId::new(""), mapping);
        // A reward that has been cancelled must be seen to be: without such a column the rows are only a list.
        let says_state = find(&["datecancelled", "statuses", "status"]).is_some();
        Ok(Columns {
            is_direct: says_state && sample.is_ok_and(|sample| sample.kind == LinkKind::Both),
            has_accounts: account.is_some(),
            has_moments: modified.is_some(),
            can_compare: id.is_some() && modified.is_some() && says_state,
            header,
            account,
            modified,
            folded,
        })
    }

    /// The next rows; none at the end.
    pub(super) fn next_batch(&mut self, columns: &Columns, most: usize) -> Result<Vec<Row>> {
        let mut batch = Vec::with_capacity(most);
        let mut record = csv::StringRecord::new();
        while batch.len() < most && self.0.read_record(&mut record).map_err(|error| broken(&error))? {
            let cell = |column: Option<usize>| record.get(column?).filter(|text| !text.is_empty());
            batch.push(Row {
                account: cell(columns.account).map(AccountId::new),
                date_modified: cell(columns.modified).and_then(moment),
                cells: record.iter().map(str::to_owned).collect(),
            });
        }
        Ok(batch)
    }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Unix milliseconds, or the same moment as RFC 3339.
fn moment(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))
}

/// The message of the CSV reader may repeat what it read, which may name a person.
fn broken(error: &csv::Error) -> Error {
    let at = error.position().map(|place| format!(" at line {}", place.line())).unwrap_or_default();
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is no UTF-8 text",
        csv::ErrorKind::UnequalLengths { .. } => "has a row that is shorter or longer than its header",
        _ => "cannot be read as CSV",
    };
    Error::new(Kind::Vendor, format!("the export {what}{at}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str) -> Result<(Columns, Vec<Row>)> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let mut rows = rows(file)?;
        let columns = rows.columns(&Mapping::default())?;
        let batch = rows.next_batch(&columns, 100)?;
        Ok((columns, batch))
    }

    #[test]
    fn columns_are_found_by_what_they_say() {
        for (header, accounts, moments, direct) in [
            ("id,accountId,dateModified", true, true, false),
            ("Reward ID,Account ID,Date Modified,Order ID,Action ID,Statuses", true, true, true),
            ("Reward ID,Account ID,Date Modified,Order ID,Action ID", true, true, false),
            ("id,user_account_id,order_number", true, false, false),
            ("id,userId,dateCreated", false, false, false),
            ("accountId,orderId,actionId", true, false, false),
        ] {
            let (columns, rows) = read(&format!("{header}\n")).expect("a header");
            assert!(rows.is_empty());
            let found = (columns.has_accounts, columns.has_moments, columns.is_direct);
            assert_eq!(found, (accounts, moments, direct), "{header}");
        }
    }

    #[test]
    fn a_row_is_a_reward() {
        let text =
            "Reward ID,Account ID,Order ID,Action ID,dateModified\nr1,a+b@x.example,\"#1,\"\"2\",1.2.3,1717729847869\n";
        let (columns, rows) = read(text).expect("a file");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].account.as_ref().map(AccountId::as_str), Some("a+b@x.example"));
        assert_eq!(rows[0].date_modified, Some(1_717_729_847_869));
        let extracted = extract::read(&rows[0].json(&columns.header), &AccountId::new("x"), &Mapping::default());
        let extracted = extracted.expect("a reward");
        assert_eq!((extracted.reward.reward_id.as_str(), extracted.kind), ("r1", LinkKind::Both));
        assert_eq!(extracted.links[0].order_id.as_ref().map(crate::model::OrderId::as_str), Some("#1,\"2"));
    }

    #[test]
    fn half_a_file_is_an_error_and_repeats_nothing() {
        for text in [
            "id,ann,ann\nr1,1,2\n",
            "id,accountId\nr1,ann@x.example,more\n",
            "id,accountId\nr1\n",
            "<html>\nann@x.example,1,2\n",
        ] {
            let error = read(text).map(|_| ()).expect_err(text);
            assert_eq!(error.kind, Kind::Vendor);
            assert!(!error.message.contains("ann"), "{error}");
        }
    }
}
