//! `envoy.extensions.filters.http.buffer.v3`

use weir_xds::pb;
use weir_xds::pb::buffer::buffer_per_route::Override;

use super::FilterConfig;
use super::per_route::RouteConfig;
use crate::snapshot::Problems;

pub(super) fn compile(proto: &pb::buffer::Buffer, problems: &mut Problems) -> Option<FilterConfig> {
    max_request_bytes(proto, problems).map(FilterConfig::Buffer)
}

pub(super) fn compile_per_route(proto: &pb::buffer::BufferPerRoute, problems: &mut Problems) -> Option<RouteConfig> {
    match &proto.r#override {
        Some(Override::Disabled(true)) => Some(RouteConfig::BufferOff),
        Some(Override::Disabled(false)) => {
            problems.push("disabled", "must be true: leave it out to keep the filter");
            None
        }
        Some(Override::Buffer(buffer)) => {
            let mut inner = Problems::new();
            let max = max_request_bytes(buffer, &mut inner);
            problems.nest("buffer", inner);
            max.map(RouteConfig::Buffer)
        }
        None => {
            problems.push("", "one of disabled and buffer is required");
            None
        }
    }
}

fn max_request_bytes(proto: &pb::buffer::Buffer, problems: &mut Problems) -> Option<u32> {
    match proto.max_request_bytes {
        Some(value) if value.value > 0 => Some(value.value),
        Some(_) => {
            problems.push("max_request_bytes", "must be greater than 0");
            None
        }
        None => {
            problems.push("max_request_bytes", "is required");
            None
        }
    }
}
