//! Guests in a few lines.

use std::sync::LazyLock;

use weir_wasm::{Engine, EngineSettings, Instance, LoadError, Module, Plugin, PluginSettings, StartError};

use crate::recorder::Recorder;

/// One engine for all tests, as for all plugins of a process.
pub(crate) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&EngineSettings::default()).unwrap());

/// What every filter has: memory, an allocator that never frees, and the marker of the ABI.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (func $malloc (export "malloc") (param $size i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $heap))
        (global.set $heap (i32.add (global.get $heap) (local.get $size)))
        (local.get $at))
    (func (export "proxy_abi_version_0_2_1"))
"#;

/// A module from its imports and the rest, with the prelude between.
pub(crate) fn guest(imports: &str, rest: &str) -> Vec<u8> {
    wasm(&format!("{imports}{PRELUDE}{rest}"))
}

/// A module from everything that stands in it.
pub(crate) fn wasm(content: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {content})")).unwrap()
}

pub(crate) fn plugin(bytes: &[u8], settings: PluginSettings) -> Result<Plugin<Recorder>, LoadError> {
    Plugin::new(&Module::new(&ENGINE, bytes)?, settings)
}

/// Settings with limits that a test can wait for.
pub(crate) fn settings() -> PluginSettings {
    let mut settings = PluginSettings { name: "test".into(), ..PluginSettings::default() };
    settings.limits.callback_cpu = std::time::Duration::from_millis(20);
    settings.limits.start_cpu = std::time::Duration::from_millis(20);
    settings.limits.memory_bytes = 1 << 20;
    settings
}

pub(crate) fn try_start(bytes: &[u8]) -> Result<Instance<Recorder>, StartError> {
    plugin(bytes, settings()).unwrap().start(Recorder::default())
}

pub(crate) fn start(bytes: &[u8]) -> Instance<Recorder> {
    try_start(bytes).unwrap()
}

/// A guest that makes one host call with arguments that the test chooses, and shows what came of it.
///
/// The test puts the arguments (8 bytes each) and the bytes they point to into the request's body; the guest fetches it to
/// [`BLOB`], makes the call, logs the memory from [`OUT`] on, and answers with the status as the response's.
pub(crate) struct Probe {
    name: String,
    bytes: Vec<u8>,
    plugin: Plugin<Recorder>,
    pub(crate) instance: Instance<Recorder>,
}

/// Where the arguments are in the guest's memory.
pub(crate) const BLOB: u32 = 65536;
/// Where a call may write its results.
pub(crate) const OUT: u32 = 1024;
/// One past the guest's memory.
pub(crate) const END: u32 = 2 * 65536;
/// Room for arguments at the start of the blob.
const ARGUMENTS: u32 = 13 * 8;

/// What a host call is given.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    /// A number, a pointer as it stands, ...
    Number(u64),
    /// Two arguments: where these bytes are, and how many.
    Bytes(&'a [u8]),
    /// A pointer to the n-th result of 8 bytes.
    Out(u32),
}

/// What came of a host call.
pub(crate) struct Answer {
    pub(crate) status: u32,
    /// Memory from `OUT` on.
    memory: Vec<u8>,
}

impl Answer {
    /// The n-th result.
    pub(crate) fn number(&self, n: u32) -> u64 {
        let at = n as usize * 8;
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    /// The bytes that results n and n+1 point to.
    pub(crate) fn bytes(&self, n: u32) -> &[u8] {
        let (at, len) = (self.number(n) as u32, self.number(n + 1) as usize);
        if len == 0 {
            return &[];
        }
        let start = (at - OUT) as usize;
        &self.memory[start..start + len]
    }
}

impl Probe {
    /// For the call `module.name`, whose parameters are `i` (32 bits) or `l` (64 bits).
    pub(crate) fn new(module: &str, name: &str, parameters: &str) -> Self {
        let types: String = parameters.chars().map(|p| if p == 'l' { "i64 " } else { "i32 " }).collect();
        let loads: String = parameters
            .chars()
            .enumerate()
            .map(|(n, p)| {
                let load = if p == 'l' { "i64.load" } else { "i32.load" };
                format!("({load} (i32.add (local.get $blob) (i32.const {})))", n * 8)
            })
            .collect();
        let bytes = guest(
            &format!(
                r#"
                (import "{module}" "{name}" (func $target (param {types}) (result i32)))
                (import "env" "proxy_get_buffer_bytes" (func $body (param i32 i32 i32 i32 i32) (result i32)))
                (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
                (import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
                "#
            ),
            &format!(
                r#"
                (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                    (local $blob i32) (local $status i32)
                    (global.set $heap (i32.const {BLOB}))
                    (memory.fill (i32.const {OUT}) (i32.const 0) (i32.const 256))
                    (drop (call $body (i32.const 0) (i32.const 0) (i32.const 60000) (i32.const 16) (i32.const 20)))
                    (local.set $blob (i32.load (i32.const 16)))
                    (local.set $status (call $target {loads}))
                    (drop (call $log (i32.const 0) (i32.const {OUT}) (i32.const {})))
                    (drop (call $respond (local.get $status) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
                    (i32.const 0))
                "#,
                END - OUT
            ),
        );
        let mut settings = settings();
        settings.limits.log_message_bytes = END as usize;
        settings.environment = vec![("ANIMAL".into(), "otter".into()), ("TREE".into(), "elm".into())];
        let plugin = plugin(&bytes, settings).unwrap();
        let instance = plugin.start(Recorder { contexts: vec![1, 2], ..Recorder::default() }).unwrap();
        Self { name: format!("{module}.{name}"), bytes, plugin, instance }
    }

    /// For a call of proxy-wasm.
    pub(crate) fn env(name: &str, parameters: &str) -> Self {
        Self::new("env", name, parameters)
    }

    /// Makes the call. The request's body holds the arguments meanwhile, and `body` behind the 8 KiB of the blob.
    pub(crate) fn call(&mut self, arguments: &[Arg<'_>]) -> Answer {
        self.try_call(arguments).unwrap_or_else(|trap| panic!("{}: {trap}", self.name))
    }

    /// As [`Self::call`]; a trap is an answer too, and the guest is started again.
    pub(crate) fn try_call(&mut self, arguments: &[Arg<'_>]) -> Result<Answer, weir_wasm::Trap> {
        self.instance.host_mut().request_body = blob(arguments);
        self.instance.host_mut().logs.clear();
        self.instance.host_mut().responses.clear();
        match self.instance.on_request_headers(2, 0, true) {
            Ok(_) => {
                let host = self.instance.host_mut();
                // A probed `proxy_send_local_response` stands before the one that shows the status.
                let status = host.responses.pop().unwrap().status;
                let (_, memory) = host.logs.pop().unwrap();
                Ok(Answer { status, memory })
            }
            Err(trap) => {
                self.instance = self.plugin.start(Recorder { contexts: vec![1, 2], ..Recorder::default() }).unwrap();
                Err(trap)
            }
        }
    }

    pub(crate) fn host(&mut self) -> &mut Recorder {
        self.instance.host_mut()
    }

    /// The module, for what a test wants beside the probe.
    pub(crate) fn module_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn blob(arguments: &[Arg<'_>]) -> Vec<u8> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for argument in arguments {
        match argument {
            Arg::Number(number) => numbers.push(*number),
            Arg::Out(n) => numbers.push(u64::from(OUT + n * 8)),
            Arg::Bytes(bytes) => {
                numbers.push(u64::from(BLOB + ARGUMENTS) + data.len() as u64);
                numbers.push(bytes.len() as u64);
                data.extend_from_slice(bytes);
            }
        }
    }
    let mut blob: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    blob.resize(ARGUMENTS as usize, 0);
    blob.extend(data);
    blob
}
