//! Flags that say what the columns of a shop's file mean, and those of `recoup refunds`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::refunds::{AmountMeans, ColumnMapping};

/// What the columns of a file mean, where recoup cannot tell by itself.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What the file's columns mean")]
pub struct ColumnArgs {
    /// The format of the file [default: recognised by its header; `recoup refunds formats` lists them]
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// The column with the order IDs; NAME#2 is the second column of that name
    #[arg(long, value_name = "NAME")]
    pub order_column: Option<String>,
    /// The column with the amounts
    #[arg(long, value_name = "NAME")]
    pub amount_column: Option<String>,
    /// What these amounts are
    #[arg(long, value_name = "WHAT")]
    pub amount_means: Option<AmountMeans>,
    /// The column with what the whole order cost
    #[arg(long, value_name = "NAME")]
    pub total_column: Option<String>,
    /// The column that says whether an order was refunded
    #[arg(long, value_name = "NAME")]
    pub status_column: Option<String>,
    /// The values of that column that mean refunded in full; any other value means not refunded
    #[arg(long, value_name = "VALUE", value_delimiter = ',')]
    pub refunded_when: Vec<String>,
    /// The column with the dates of the refunds
    #[arg(long, value_name = "NAME")]
    pub date_column: Option<String>,
    /// A column that says nothing about the refund. May be repeated
    #[arg(long, value_name = "NAME")]
    pub ignore_column: Vec<String>,
    /// What the vendor's order IDs have in front and those of the file lack, as '#'
    #[arg(long, value_name = "TEXT")]
    pub order_prefix: Option<String>,
    /// What the order IDs of the file have in front and the vendor's lack, as '#'
    #[arg(long, value_name = "TEXT")]
    pub strip_order_prefix: Option<String>,
}

impl ColumnArgs {
    /// What the flags explain.
    pub fn explained(&self) -> ColumnMapping {
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

    /// Whether no flag was given.
    pub fn is_empty(&self) -> bool {
        self.explained().is_empty()
            && self.format.is_none()
            && self.order_prefix.is_none()
            && self.strip_order_prefix.is_none()
    }
}

/// `recoup refunds`.
#[derive(Debug, Subcommand)]
pub enum RefundsCommand {
    /// Say how a file is read: its format, its columns, the decision for each order and why. Needs no index and no network
    Check(Box<RefundsCheckArgs>),
    /// List the formats that are recognised
    Formats,
}

/// Flags of `recoup refunds check`.
#[derive(Debug, Args)]
pub struct RefundsCheckArgs {
    /// The shop's file, CSV or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// List every order, not only some of each decision
    #[arg(long)]
    pub all: bool,
    /// What its columns mean.
    #[command(flatten)]
    pub columns: ColumnArgs,
}
