//! PostgreSQL servers of a test's own: a primary with an asynchronous standby, and pgbouncer in transaction mode.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{report_skipped, wait_until};

/// A user without any rights. PostgreSQL and pgbouncer refuse to run as root.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// Makes a folder that the servers may write to.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    if is_root() {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).expect("root may");
    }
    folder
}

fn command(program: impl AsRef<std::ffi::OsStr>, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder.path()).stdin(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// A primary and a standby that follows it. Both end with this value.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    ports: [u16; 2],
}

impl Cluster {
    /// Starts both. Returns `None` and reports a skipped test without `TEST_POSTGRES`.
    pub fn start() -> Option<Self> {
        if std::env::var_os("TEST_POSTGRES").is_none() {
            report_skipped("this test starts PostgreSQL servers, if TEST_POSTGRES says that it is installed");
            return None;
        }
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's package postgresql");
        let programs = versions.map(|version| version.expect("a folder").path().join("bin"));
        let programs = programs.filter(|path| path.join("initdb").exists()).max().expect("initdb");
        let cluster = Self { folder: folder(), programs, ports: [free_port(), free_port()] };
        cluster.program("initdb", "-D primary -U recoup -A trust --no-sync -E UTF8 --locale=C.UTF-8");
        cluster.serve("primary", 0);
        let base = format!("-h 127.0.0.1 -p {} -U recoup -D standby -R --checkpoint=fast --no-sync", cluster.ports[0]);
        cluster.program("pg_basebackup", &base);
        cluster.serve("standby", 1);
        Some(cluster)
    }

    /// The address of the stores, which names both servers and uses the one that can be written.
    pub fn address(&self) -> String {
        let [one, other] = self.ports;
        format!(
            "postgres://recoup@127.0.0.1:{one},127.0.0.1:{other}/postgres?target_session_attrs=read-write&sslmode=disable\
             &lock_seconds=3&schema=t"
        )
    }

    /// Waits until the standby has everything, and then stops its replication.
    pub fn cut_off_the_standby(&self) {
        let newest = self.sql(0, "SELECT pg_current_wal_lsn()");
        let has_it = format!("SELECT pg_last_wal_replay_lsn() >= '{newest}'");
        wait_until("the standby has caught up", || self.sql(1, &has_it) == "t");
        self.sql(1, "ALTER SYSTEM SET primary_conninfo = ''");
        self.sql(1, "SELECT pg_reload_conf()");
        wait_until("the standby is cut off", || self.sql(1, "SELECT count(*) FROM pg_stat_wal_receiver") == "0");
    }

    /// Makes the standby the primary, and ends the old primary.
    pub fn fail_over(&self) {
        self.program("pg_ctl", "-D standby -w promote");
        self.program("pg_ctl", "-D primary -m immediate stop");
    }

    fn serve(&self, name: &str, n: usize) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off -c max_connections=60",
            self.ports[n],
            self.folder.path().display()
        );
        let started = command(self.programs.join("pg_ctl"), &self.folder)
            .args(["-D", name, "-w", "-l", &format!("{name}.log"), "-o", &options, "start"])
            .stdout(Stdio::null())
            .status();
        assert!(started.expect("pg_ctl runs").success(), "{name} does not start");
    }

    fn program(&self, name: &str, args: &str) {
        let ran = command(self.programs.join(name), &self.folder).args(args.split(' ')).output().expect("it runs");
        assert!(ran.status.success(), "{name} {args}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn sql(&self, n: usize, sql: &str) -> String {
        let server = format!("postgres://recoup@127.0.0.1:{}/postgres", self.ports[n]);
        let ran = Command::new("psql").args([&server, "-XAtc", sql]).output().expect("psql runs");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8").trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for name in ["primary", "standby"] {
            let stop = ["-D", name, "-m", "immediate", "stop"];
            drop(command(self.programs.join("pg_ctl"), &self.folder).args(stop).output());
        }
    }
}

/// A pgbouncer in transaction mode. It ends with this value.
pub struct Bouncer {
    child: Child,
    pub port: u16,
    _folder: TempDir,
}

impl Bouncer {
    /// Starts a pgbouncer before the server at `host:port`. Returns `None` and reports a skipped test if it is not installed.
    pub fn start(server: &str) -> Option<Self> {
        let (folder, port) = (folder(), free_port());
        let (host, server_port) = server.split_once(':').expect("a port");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("users"), "\"recoup\" \"\"\n").expect("a file");
        let settings = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 4\n\
             max_client_conn = 100\n",
            path("users")
        );
        std::fs::write(path("settings"), settings).expect("a file");
        let started = command("pgbouncer", &folder).args(["-q", &path("settings")]).stderr(Stdio::null()).spawn();
        let Ok(child) = started else {
            report_skipped("this test needs pgbouncer");
            return None;
        };
        wait_until("pgbouncer listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { child, port, _folder: folder })
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
