//! Tests the vendor's clients against a scripted server on this machine, in real time with short time-outs.

mod actions;
mod fixtures;
mod graphql_and_exports;
mod modifications_and_cancellations;
mod programs;
mod reads;
mod referrals;
mod server;
mod writes;
