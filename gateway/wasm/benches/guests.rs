//! What a guest costs: six callbacks of one request on a warm instance, one host call, and a new instance.
//!
//! With `WEIR_PLUGINS` set to the folder of built plugins, `header_tag.wasm` is measured as well: the public Rust SDK.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use weir_wasm::{
    BufferEdit, BufferType, ContextId, Engine, EngineSettings, Host, Instance, LocalResponse, LogLevel, MapType,
    Module, Pairs, PairsBuffer, Plugin, PluginSettings, PropertyPath, Status, StreamType,
};

criterion_group!(benches, warm, fresh);
criterion_main!(benches);

/// The six callbacks of a request, with a header written in each direction.
const GUEST: &str = r#"(module
    (import "env" "proxy_replace_header_map_value" (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 0) "x-tagblue")
    (func (export "malloc") (param i32) (result i32) (i32.const 65536))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $set (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 4)))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $set (i32.const 2) (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 4)))
    (func (export "proxy_on_tick") (param i32)
        (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 32) (i32.const 36))))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32)))"#;

fn modules(engine: &Engine) -> Vec<(&'static str, Module)> {
    let mut modules = vec![("text", Module::new(engine, &wat::parse_str(GUEST).unwrap()).unwrap())];
    if let Ok(folder) = std::env::var("WEIR_PLUGINS") {
        let bytes = std::fs::read(std::path::Path::new(&folder).join("header_tag.wasm")).unwrap();
        modules.push(("header_tag", Module::new(engine, &bytes).unwrap()));
    }
    modules
}

fn plugin(module: &Module) -> Plugin<Map> {
    Plugin::new(module, PluginSettings { name: "bench".into(), ..PluginSettings::default() }).unwrap()
}

fn warm(criterion: &mut Criterion) {
    let engine = Engine::new(&EngineSettings::default()).unwrap();
    for (name, module) in modules(&engine) {
        let mut instance = plugin(&module).start(Map::default()).unwrap();
        criterion.bench_function(&format!("{name}: six callbacks, warm"), |bencher| {
            bencher.iter(|| request(&mut instance));
        });
    }
    let (_, module) = &modules(&engine)[0];
    let mut instance = plugin(module).start(Map::default()).unwrap();
    criterion.bench_function("text: a callback that reads a header", |bencher| {
        bencher.iter(|| instance.on_tick().unwrap());
    });
    criterion.bench_function("text: an empty callback", |bencher| bencher.iter(|| instance.on_log(2).unwrap()));
}

fn request(instance: &mut Instance<Map>) {
    let context = instance.next_context();
    instance.on_context_create(context, Instance::<Map>::ROOT).unwrap();
    black_box(instance.on_request_headers(context, 8, true).unwrap());
    black_box(instance.on_response_headers(context, 8, true).unwrap());
    instance.on_log(context).unwrap();
    instance.on_done(context).unwrap();
    instance.on_delete(context).unwrap();
}

fn fresh(criterion: &mut Criterion) {
    let engine = Engine::new(&EngineSettings::default()).unwrap();
    for (name, module) in modules(&engine) {
        let plugin = plugin(&module);
        criterion.bench_function(&format!("{name}: a new instance, started"), |bencher| {
            bencher.iter(|| plugin.start(Map::default()).unwrap());
        });
    }
}

/// A host that remembers one header: the cost of a real header map is not measured here.
#[derive(Default)]
struct Map {
    value: Vec<u8>,
}

impl Host for Map {
    fn has_context(&self, _: ContextId) -> bool {
        false
    }

    fn header(&mut self, _: ContextId, _: MapType, _: &[u8], value: &mut Vec<u8>) -> Result<(), Status> {
        value.extend_from_slice(&self.value);
        Ok(())
    }

    fn headers(&mut self, _: ContextId, _: MapType, pairs: &mut PairsBuffer) -> Result<(), Status> {
        pairs.push(b"x-tag", &self.value);
        Ok(())
    }

    fn set_headers(&mut self, _: ContextId, _: MapType, _: Pairs<'_>) -> Result<(), Status> {
        Ok(())
    }

    fn add_header(&mut self, c: ContextId, map: MapType, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.replace_header(c, map, name, value)
    }

    fn replace_header(&mut self, _: ContextId, _: MapType, _: &[u8], value: &[u8]) -> Result<(), Status> {
        self.value.clear();
        self.value.extend_from_slice(value);
        Ok(())
    }

    fn remove_header(&mut self, _: ContextId, _: MapType, _: &[u8]) -> Result<(), Status> {
        Ok(())
    }

    fn buffer_len(&mut self, _: ContextId, _: BufferType) -> Option<usize> {
        None
    }

    fn buffer(&mut self, _: ContextId, _: BufferType, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    fn set_buffer(&mut self, _: ContextId, _: BufferType, _: BufferEdit, _: &[u8]) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    fn property(&mut self, _: ContextId, _: PropertyPath<'_>, _: &mut Vec<u8>) -> Result<(), Status> {
        Err(Status::NotFound)
    }

    fn send_local_response(&mut self, _: ContextId, _: LocalResponse<'_>) -> Result<(), Status> {
        Ok(())
    }

    fn continue_stream(&mut self, _: ContextId, _: StreamType) -> Result<(), Status> {
        Ok(())
    }

    fn close_stream(&mut self, _: ContextId, _: StreamType) -> Result<(), Status> {
        Ok(())
    }

    fn log(&mut self, _: ContextId, _: LogLevel, _: &[u8], _: bool) {}
}
