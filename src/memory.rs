//! Protects the tokens in this process's memory from core dumps, and from debuggers of the same user.

use std::io;

/// Sets the core dump limit to zero. On Linux, also makes the process non-dumpable, so that other processes of the same
/// user cannot read its memory. Callers must call this function before recoup reads a secret.
#[cfg(unix)]
pub fn keep_private() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(not(unix))]
pub fn keep_private() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_private_process_writes_no_core_and_is_not_dumpable() {
        super::keep_private().expect("a limit can be lowered");
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().expect("it is known"), DumpableBehavior::NotDumpable);
    }
}
