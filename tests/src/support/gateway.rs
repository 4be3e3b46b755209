//! A gateway as its operator starts it: the binary, a file, signals, and what it prints.

use super::{Bootstrap, Response, envoy_binary, eventually, eventually_some, get, weir_binary};
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Which program runs the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Envoy 1.40, for comparing.
    Envoy,
    /// The program under test.
    Weir,
}

/// How to start a gateway.
pub struct Launch {
    kind: Kind,
    bootstrap: Bootstrap,
    folder: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    concurrency: usize,
    limits: Vec<String>,
    log_is_read: bool,
}

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    /// Which program this is.
    pub kind: Kind,
    /// Where the admin listens.
    pub admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
    process: Process,
    folder: TempDir,
}

/// How a gateway ended.
#[derive(Debug)]
pub struct Exit {
    /// As the kernel reports it.
    pub status: ExitStatus,
    /// What it had printed on stdout and stderr.
    pub output: String,
}

impl Launch {
    /// One worker, a folder of its own.
    pub fn new(kind: Kind, bootstrap: Bootstrap) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().unwrap();
        Self {
            kind,
            bootstrap,
            folder,
            arguments: Vec::new(),
            environment: Vec::new(),
            concurrency: 1,
            limits: Vec::new(),
            log_is_read: true,
        }
    }

    /// Uses this folder, which holds files that the bootstrap names.
    #[must_use]
    pub fn folder(mut self, folder: TempDir) -> Self {
        self.folder = folder;
        self
    }

    /// Adds arguments of the command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Uses this many workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.concurrency = workers;
        self
    }

    /// Lets it open this many files only.
    #[must_use]
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.limits.push(format!("ulimit -n {limit}"));
        self
    }

    /// Lets it have this many KiB of addresses only.
    #[must_use]
    pub fn addresses(mut self, limit_kib: u32) -> Self {
        self.limits.push(format!("ulimit -v {limit_kib}"));
        self
    }

    /// Nobody reads what it prints on stderr.
    #[must_use]
    pub fn log_unread(mut self) -> Self {
        self.log_is_read = false;
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or does not become ready, with its output.
    pub async fn start(self) -> Gateway {
        let mut gateway = self.start_unready().await;
        let (process, admin) = (&mut gateway.process, gateway.admin);
        let ready = async || {
            process.expect_running();
            get(admin, "/ready").await.ok().filter(|answer| answer.status == 200)
        };
        eventually_some("the gateway is ready", ready).await;
        gateway.refresh_listeners().await;
        gateway
    }

    /// Starts it and waits for its admin only.
    ///
    /// # Panics
    /// When it ends before.
    pub async fn start_unready(self) -> Gateway {
        let address_file = self.folder.path().join("admin-address");
        let mut process = self.spawn();
        let admin = eventually_some("the admin listens", async || {
            process.expect_running();
            let admin = std::fs::read_to_string(&address_file).ok()?.trim().parse().ok()?;
            get(admin, "/ready").await.ok().map(|_| admin)
        })
        .await;
        Gateway { kind: self.kind, admin, listeners: Vec::new(), process, folder: self.folder }
    }

    /// Runs it until it ends by itself.
    pub async fn run_to_exit(self) -> Exit {
        let mut process = self.spawn();
        process.exit().await
    }

    fn spawn(&self) -> Process {
        let folder = self.folder.path();
        let file = folder.join("bootstrap.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&self.bootstrap.0).unwrap()).unwrap();
        let (binary, first): (_, &[_]) = match self.kind {
            Kind::Weir => (weir_binary(), &["run"]),
            Kind::Envoy => (envoy_binary(), &["--use-dynamic-base-id", "-l", "warning"]),
        };
        let mut command = if self.limits.is_empty() {
            Command::new(binary)
        } else {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{}; exec \"$0\" \"$@\"", self.limits.join("; "))]).arg(binary);
            shell
        };
        command.args(first);
        command.arg("-c").arg(file).arg("--admin-address-path").arg(folder.join("admin-address"));
        command.args(["--concurrency", &self.concurrency.to_string()]).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::spawn(command.current_dir(folder), self.log_is_read)
    }
}

impl Gateway {
    /// Weir with one worker.
    pub async fn weir(bootstrap: Bootstrap) -> Self {
        Launch::new(Kind::Weir, bootstrap).start().await
    }

    /// The first listener's address.
    pub fn address(&self) -> SocketAddr {
        self.listeners.first().expect("a listener").1
    }

    /// A listener's address.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no listener {name} in {:?}", self.listeners)).1
    }

    /// The folder with the bootstrap, in which it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// GET of the admin.
    pub async fn admin(&self, path: &str) -> Response {
        get(self.admin, path).await.unwrap_or_else(|error| panic!("admin {path}: {error}\n{}", self.output()))
    }

    /// A counter or gauge; none when it is not in `/stats`.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        let text = self.admin("/stats").await.text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }

    /// Waits until a counter or gauge has a value.
    pub async fn stat_becomes(&self, name: &str, value: u64) {
        eventually(&format!("{name} is {value}"), async || self.stat(name).await == Some(value)).await;
    }

    /// Waits until a line that contains this text is printed.
    pub async fn prints(&self, text: &str) {
        eventually(&format!("it prints {text:?}"), async || self.output().contains(text)).await;
    }

    /// Seconds of processor time that it has used.
    pub fn processor_time(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in hundredths.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }

    /// Kilobytes of memory: `VmRSS` for now, `VmHWM` for the most there ever was.
    pub fn memory_kb(&self, which: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.process.signal(libc::SIGTERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits for its end, which something else caused.
    pub async fn exit(mut self) -> Exit {
        self.process.exit().await
    }

    /// Sends SIGTERM, waits for the end, and gives the folder back with what was written there.
    pub async fn stop(mut self) -> (Exit, TempDir) {
        self.terminate();
        (self.process.exit().await, self.folder)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_none()
    }

    /// Asks the admin again for the listeners, after a change.
    pub async fn refresh_listeners(&mut self) {
        let answer: Value = serde_json::from_slice(&self.admin("/listeners?format=json").await.body).unwrap();
        let statuses = answer["listener_statuses"].as_array().cloned().unwrap_or_default();
        self.listeners = statuses.iter().map(|status| (name_of(status), address_of(status))).collect();
    }
}

fn name_of(status: &Value) -> String {
    status["name"].as_str().unwrap().to_owned()
}

fn address_of(status: &Value) -> SocketAddr {
    let socket = &status["local_address"]["socket_address"];
    let ip = socket["address"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(ip, u16::try_from(socket["port_value"].as_u64().unwrap()).unwrap())
}

/// A child whose output is collected.
struct Process {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    fn spawn(command: &mut Command, log_is_read: bool) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = vec![collect(child.stdout.take().unwrap(), &output)];
        if log_is_read {
            readers.push(collect(child.stderr.take().unwrap(), &output));
        }
        Self { child, output, readers }
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    fn expect_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the gateway has ended with {status}:\n{}", self.output());
        }
    }

    fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: kill has no memory effects; the pid is our child's, which is not reaped while `child` is borrowed.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the gateway has ended already:\n{}", self.output());
    }

    async fn exit(&mut self) -> Exit {
        let status = eventually_some("the gateway ends", async || self.child.try_wait().unwrap()).await;
        eventually("its output is read to the end", async || self.readers.iter().all(JoinHandle::is_finished)).await;
        Exit { status, output: self.output() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = into.clone();
    std::thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    })
}
