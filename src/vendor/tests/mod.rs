//! The clients against a server of a few lines on this machine: real time, tiny time-outs, no sleeping for luck.

mod cancels;
mod fixtures;
mod lists;
mod programs;
mod questions;
mod reads;
mod referrals;
mod server;
mod writes;
