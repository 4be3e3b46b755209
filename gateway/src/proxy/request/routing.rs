//! Which route a request takes.

use std::sync::Arc;

use crate::filter::Stream;
use crate::http::RequestHead;
use crate::route::{Action, Choice, Forward, MatchInput, Matched, RouteConfig, RouteRef};
use crate::snapshot::compile::filter::PerRoute;

/// What the route configuration has for a request.
#[derive(Clone)]
pub(super) struct Routing {
    /// None if it has not come.
    routes: Option<Arc<RouteConfig<PerRoute>>>,
    chosen: Chosen,
    /// Decides between weighted clusters, also if the route is chosen again.
    random: u64,
}

#[derive(Clone, Copy)]
enum Chosen {
    Route(RouteRef),
    HttpsRedirect,
    None,
}

impl Routing {
    /// No route, for what is answered before one is chosen.
    pub(super) fn none(routes: Option<Arc<RouteConfig<PerRoute>>>, random: u64) -> Self {
        Self { routes, chosen: Chosen::None, random }
    }

    /// What only clients inside may say (`internal_only_headers`) is taken from the others.
    pub(super) fn take_internal_only(&self, head: &mut RequestHead) {
        if let Some(routes) = self.routes.as_deref()
            && !head.headers.contains("x-envoy-internal")
        {
            for name in &routes.internal_only_headers {
                head.headers.remove(&**name);
            }
        }
    }

    /// Chooses by the request as it stands now, and notes what was chosen.
    pub(super) fn choose(&mut self, stream: &Stream) {
        self.chosen = {
            let state = stream.get();
            let input = MatchInput::new(&state.request, self.random, state.info.connection.tls.as_ref());
            match self.routes.as_deref().map(|routes| routes.choose(&input)) {
                Some(Choice::Route(matched)) => Chosen::Route(matched.at),
                Some(Choice::HttpsRedirect(_)) => Chosen::HttpsRedirect,
                Some(Choice::None) | None => Chosen::None,
            }
        };
        let Some(matched) = self.matched() else { return };
        let info = &mut stream.edit().info;
        info.route = matched.route.name.clone();
        info.virtual_host = Some(Arc::clone(&matched.host.name));
        info.cluster = matched.cluster_name().cloned();
    }

    /// The route, if there is one.
    #[inline]
    pub(super) fn matched(&self) -> Option<Matched<'_, PerRoute>> {
        match self.chosen {
            Chosen::Route(at) => self.routes.as_deref()?.at(at),
            Chosen::HttpsRedirect | Chosen::None => None,
        }
    }

    /// Its host is to be asked over TLS only.
    pub(super) fn redirects_to_https(&self) -> bool {
        matches!(self.chosen, Chosen::HttpsRedirect)
    }

    /// Nothing was found.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.chosen, Chosen::None)
    }

    /// Whether there is a route configuration at all.
    pub(super) fn has_routes(&self) -> bool {
        self.routes.is_some()
    }
}

/// The route's way to a cluster, if it has one.
pub(super) fn to_cluster<'a>(matched: Matched<'a, PerRoute>) -> Option<&'a Forward<PerRoute>> {
    match &matched.route.action {
        Action::Forward(forward) => Some(forward),
        _ => None,
    }
}
