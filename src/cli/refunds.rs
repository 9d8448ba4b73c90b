//! Flags of `recoup refunds`, and the flags that explain the columns of a shop's file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::refunds::{AmountMeans, ColumnMapping};

/// Flags that explain the columns of a file that recoup does not recognise.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What the file's columns mean")]
pub struct ColumnArgs {
    /// The format of the file [default: recognised by its header; `recoup refunds formats` lists them]
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// The column with the order IDs. NAME#2 names the second column called NAME
    #[arg(long, value_name = "NAME")]
    pub order_column: Option<String>,
    /// The column with the amounts
    #[arg(long, value_name = "NAME")]
    pub amount_column: Option<String>,
    /// The meaning of the amounts in --amount-column
    #[arg(long, value_name = "WHAT")]
    pub amount_means: Option<AmountMeans>,
    /// The column with the total of the order
    #[arg(long, value_name = "NAME")]
    pub total_column: Option<String>,
    /// The column with the status of the order
    #[arg(long, value_name = "NAME")]
    pub status_column: Option<String>,
    /// The statuses that mean refunded in full. Every other status means not refunded
    #[arg(long, value_name = "VALUE", value_delimiter = ',')]
    pub refunded_when: Vec<String>,
    /// The column with the dates of the refunds
    #[arg(long, value_name = "NAME")]
    pub date_column: Option<String>,
    /// A column that says nothing about the refund. The flag may be repeated
    #[arg(long, value_name = "NAME")]
    pub ignore_column: Vec<String>,
    /// A prefix of the vendor's order IDs that the file's order IDs lack, such as '#'
    #[arg(long, value_name = "TEXT")]
    pub order_prefix: Option<String>,
    /// A prefix of the file's order IDs that the vendor's order IDs lack, such as '#'
    #[arg(long, value_name = "TEXT")]
    pub strip_order_prefix: Option<String>,
}

impl ColumnArgs {
    pub fn mapping(&self) -> ColumnMapping {
        ColumnMapping {
            recognise_by: Vec::new(),
            order_column: self.order_column.clone(),
            amount_column: self.amount_column.clone(),
            amount_means: self.amount_means,
            total_column: self.total_column.clone(),
            status_column: self.status_column.clone(),
            refunded_when: self.refunded_when.clone(),
            date_column: self.date_column.clone(),
            ignore_columns: self.ignore_column.clone(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.mapping().is_empty()
            && self.format.is_none()
            && self.order_prefix.is_none()
            && self.strip_order_prefix.is_none()
    }
}

#[derive(Debug, Subcommand)]
pub enum RefundsCommand {
    /// Show how recoup reads a shop's file: its format, its columns, and the decision for each order. Needs no index
    /// and no network
    Check(Box<RefundsCheckArgs>),
    /// List the formats that recoup recognises
    Formats,
}

#[derive(Debug, Args)]
pub struct RefundsCheckArgs {
    /// The shop's CSV or JSON file; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// List every order instead of a few for each decision
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub columns: ColumnArgs,
}
