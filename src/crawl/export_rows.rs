//! Reads the rows of an export file, one batch at a time.
//!
//! The vendor does not publish the column names of an export. Therefore the crawler recognises column names in any case
//! and with any separator. An export file that is not CSV is an error, and so is a row that is longer or shorter than
//! the header. If a malformed export were no error, the crawler would accept a truncated export as complete.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::extract::{self, Mapping};
use crate::model::{AccountId, LinkKind, RewardId};

/// The columns of an export file, and the uses that they allow.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// The column names of the export file, in order. recoup renames the column of the reward ID to `id`.
    pub(super) header: Vec<String>,
    account: Option<usize>,
    modified: Option<usize>,
    /// The column names of the export file in lower case without separators.
    folded: Vec<String>,
    pub(super) has_accounts: bool,
    pub(super) has_date_modified: bool,
    /// `true` if the export's rows contain the order ID, the ActionId and the state. If the rows contain the links and
    /// the state, the crawler does not need Get Rewards.
    pub(super) has_links: bool,
    /// `true` if the export's rows have the reward ID, `dateModified` and the state. recoup can compare such an export
    /// with the index.
    pub(super) can_compare: bool,
}

impl Columns {
    /// Returns `true` if the export file has a column. `name` must be in lower case without separators.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folded.iter().any(|found| found == name)
    }

    #[cfg(test)]
    pub(super) fn named(header: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, header.as_bytes()).expect("written");
        ExportReader::new(file).and_then(|mut reader| reader.columns(&Mapping::default())).expect("a header")
    }
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) account: Option<AccountId>,
    /// The reward's `dateModified`, in Unix milliseconds.
    pub(super) date_modified: Option<i64>,
    cells: Vec<String>,
}

impl Row {
    pub(super) fn reward_id(&self, header: &[String]) -> Option<RewardId> {
        let at = header.iter().position(|name| name == "id")?;
        self.cells.get(at).filter(|cell| !cell.is_empty()).map(|cell| RewardId::new(cell.as_str()))
    }

    /// Returns the export row as the JSON of a reward, with a string for each cell that is not empty.
    pub(super) fn json(&self, header: &[String]) -> String {
        let filled = header.iter().zip(&self.cells).filter(|(_, cell)| !cell.is_empty());
        let map: Map<String, Value> = filled.map(|(name, cell)| (name.clone(), Value::from(cell.as_str()))).collect();
        Value::Object(map).to_string()
    }
}

pub(super) struct ExportReader(csv::Reader<BufReader<File>>);

impl ExportReader {
    /// Creates a reader that starts at the beginning of the export file.
    pub(super) fn new(mut file: File) -> Result<Self> {
        file.seek(SeekFrom::Start(0))
            .map_err(|error| Error::new(Kind::Storage, format!("failed to read the downloaded export: {error}")))?;
        Ok(Self(csv::ReaderBuilder::new().from_reader(BufReader::new(file))))
    }

    pub(super) fn columns(&mut self, mapping: &Mapping) -> Result<Columns> {
        let names: Vec<String> = self.0.headers().map_err(|error| broken(&error))?.iter().map(str::to_owned).collect();
        let folded: Vec<String> = names.iter().map(|name| fold(name)).collect();
        if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
            return Err(Error::new(Kind::Vendor, "the export has two columns with the same name"));
        }
        let find = |wanted: &[&str]| wanted.iter().find_map(|name| folded.iter().position(|found| found == name));
        let account = find(&["accountid", "useraccountid", "account"]);
        let modified = find(&["datemodified", "modified", "lastmodified", "datelastmodified"]);
        let mut header = names;
        let id = find(&["id", "rewardid"]);
        if let Some(id) = id {
            "id".clone_into(&mut header[id]);
        }
        // Extracts the links of a row in which every cell is filled, because that shows which IDs a row can contain.
        let sample: Map<String, Value> = header.iter().map(|name| (name.clone(), Value::from("1.2.3"))).collect();
        let sample = extract::read(&Value::Object(sample).to_string(), &AccountId::new(""), mapping);
        // If an export had no column for the state, a cancelled reward would look valid. Therefore recoup uses the rows
        // of an export without states only as a list of accounts.
        let has_state = find(&["datecancelled", "statuses", "status"]).is_some();
        Ok(Columns {
            has_links: has_state && sample.is_ok_and(|sample| sample.kind == LinkKind::Both),
            has_accounts: account.is_some(),
            has_date_modified: modified.is_some(),
            can_compare: id.is_some() && modified.is_some() && has_state,
            header,
            account,
            modified,
            folded,
        })
    }

    /// Returns the next rows of the export file; an empty list at the end of the file.
    pub(super) fn next_batch(&mut self, columns: &Columns, most: usize) -> Result<Vec<Row>> {
        let mut batch = Vec::with_capacity(most);
        let mut record = csv::StringRecord::new();
        while batch.len() < most && self.0.read_record(&mut record).map_err(|error| broken(&error))? {
            let cell = |column: Option<usize>| record.get(column?).filter(|text| !text.is_empty());
            batch.push(Row {
                account: cell(columns.account).map(AccountId::new),
                date_modified: cell(columns.modified).and_then(parse_time),
                cells: record.iter().map(str::to_owned).collect(),
            });
        }
        Ok(batch)
    }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Parses a date of an export: Unix milliseconds or RFC 3339. The parsed date is in Unix milliseconds.
fn parse_time(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))
}

/// Returns the error for a malformed export, without the CSV reader's message, because that message may quote a cell
/// with a person's name.
fn broken(error: &csv::Error) -> Error {
    let at = error.position().map(|place| format!(" at line {}", place.line())).unwrap_or_default();
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8 text",
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
        let mut reader = ExportReader::new(file)?;
        let columns = reader.columns(&Mapping::default())?;
        let batch = reader.next_batch(&columns, 100)?;
        Ok((columns, batch))
    }

    #[test]
    fn columns_are_recognised_by_name() {
        for (header, accounts, modified, links) in [
            ("id,accountId,dateModified", true, true, false),
            ("Reward ID,Account ID,Date Modified,Order ID,Action ID,Statuses", true, true, true),
            ("Reward ID,Account ID,Date Modified,Order ID,Action ID", true, true, false),
            ("id,user_account_id,order_number", true, false, false),
            ("id,userId,dateCreated", false, false, false),
            ("accountId,orderId,actionId", true, false, false),
        ] {
            let (columns, rows) = read(&format!("{header}\n")).expect("a header");
            assert!(rows.is_empty());
            let found = (columns.has_accounts, columns.has_date_modified, columns.has_links);
            assert_eq!(found, (accounts, modified, links), "{header}");
        }
    }

    #[test]
    fn a_row_is_read_as_a_reward() {
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
    fn a_malformed_file_is_an_error_that_repeats_no_cell() {
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
