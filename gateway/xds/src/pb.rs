//! The prost types of Envoy's API under the field's short names.

use envoy_types::pb::envoy::{config, extensions, r#type};
pub use envoy_types::pb::{envoy, google, udpa, xds};
pub use google::protobuf::{
    Any, BoolValue, BytesValue, Duration, ListValue, StringValue, Struct, Timestamp, UInt32Value, UInt64Value, Value,
    value::Kind as ValueKind,
};
use prost::{Message, Name};

pub use config::{
    accesslog::v3 as accesslog, bootstrap::v3 as bootstrap, cluster::v3 as cluster,
    common::mutation_rules::v3 as mutation_rules, core::v3 as core, endpoint::v3 as endpoint, listener::v3 as listener,
    route::v3 as route,
};
pub use envoy::service::{discovery::v3 as discovery, runtime::v3 as runtime};
pub use extensions::{
    access_loggers::{file::v3 as file_access_log, stream::v3 as stream_access_log},
    filters::{
        http::{
            buffer::v3 as buffer, header_mutation::v3 as header_mutation, router::v3 as router, wasm::v3 as wasm_filter,
        },
        listener::tls_inspector::v3 as tls_inspector,
        network::{connection_limit::v3 as connection_limit, http_connection_manager::v3 as hcm},
    },
    http::header_formatters::preserve_case::v3 as preserve_case,
    load_balancing_policies::{
        common::v3 as lb_common, least_request::v3 as lb_least_request, random::v3 as lb_random,
        round_robin::v3 as lb_round_robin,
    },
    transport_sockets::{raw_buffer::v3 as raw_buffer, tls::v3 as tls},
    upstreams::http::v3 as upstream_http,
    wasm::v3 as wasm,
};
pub use r#type::{matcher::v3 as matcher, v3 as types};

use crate::schema::name_of_type_url;

/// Why an `Any` did not give the message asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It holds another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// Full name of the message asked for.
        expected: String,
        /// Full name of the message in it.
        found: String,
    },
    /// Its bytes are not of the type it names.
    #[error("the bytes of {name} are malformed: {reason}")]
    Malformed {
        /// Full name of the message.
        name: String,
        /// What the protobuf decoder says.
        reason: String,
    },
}

/// The full name of the message in an `Any`, such as `envoy.extensions.filters.http.router.v3.Router`.
pub fn type_name(any: &Any) -> &str {
    name_of_type_url(&any.type_url)
}

/// Whether an `Any` holds a message of type `T`.
pub fn is<T: Name>(any: &Any) -> bool {
    type_name(any) == T::full_name()
}

/// The message in an `Any`, its type checked.
pub fn unpack<T: Message + Name + Default>(any: &Any) -> Result<T, UnpackError> {
    if !is::<T>(any) {
        return Err(UnpackError::Type { expected: T::full_name(), found: type_name(any).to_owned() });
    }
    T::decode(any.value.as_slice()).map_err(|e| UnpackError::Malformed { name: T::full_name(), reason: e.to_string() })
}

/// An `Any` that holds `message`.
pub fn pack<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}
