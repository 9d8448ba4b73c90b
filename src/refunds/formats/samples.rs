//! Sample files of every format, for tests.
