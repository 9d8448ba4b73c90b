//! Tests of the simulator itself.

mod changes;
mod exports;
mod files;
mod formulas;
mod graphql;
mod graphql_faults;
mod modifications;
mod programs;
mod server;

use super::{
    options::{self, Options},
    world::World,
};

/// An arbitrary day for the tests.
const TODAY: i64 = 1_780_000_000_000 / super::data::DAY * super::data::DAY;

fn world(options: &Options) -> World {
    World::new(options, TODAY)
}

fn of(participants: u64) -> Options {
    Options { participants, ..Options::default() }
}
