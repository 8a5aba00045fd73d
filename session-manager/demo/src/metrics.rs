//! `/metrics`: figures of the store, for a Prometheus on this machine.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rouille::{Request, Response};
use session_manager::BoxError;
use store_core::{MeteredStore, Store};

type Metered = Arc<MeteredStore<Box<dyn Store>>>;

/// How often figures are put together, so that they need no more memory if nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// The upper bounds of a histogram, in seconds, up to the stores' timeouts. Fixed bounds need the
/// same memory for any number of operations, and Prometheus can add up those of several processes.
const BOUNDS: [f64; 8] = [0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0, 5.0];

pub(crate) struct Metrics {
    store: Metered,
    recorder: PrometheusHandle,
}

impl Metrics {
    /// Counts and times what the store does from now on.
    pub(crate) fn of(store: Box<dyn Store>) -> Result<(Metered, Self), BoxError> {
        // First, because the store describes its figures to the recorder that is there.
        let recorder = PrometheusBuilder::new().set_buckets(&BOUNDS)?.install_recorder()?;
        let store = Arc::new(MeteredStore::new(store));
        thread::Builder::new().name("metrics upkeep".to_owned()).spawn({
            let recorder = recorder.clone();
            move || loop {
                thread::sleep(UPKEEP);
                recorder.run_upkeep();
            }
        })?;
        Ok((Arc::clone(&store), Self { store, recorder }))
    }

    /// Answers a request for the figures, to visitors from this machine alone. Behind a proxy these
    /// are all visitors: there the proxy has to keep this path to itself.
    pub(crate) fn respond(&self, request: &Request) -> Option<Response> {
        let is_local = request.remote_addr().ip().to_canonical().is_loopback();
        if request.url() != "/metrics" || !is_local {
            return None;
        }
        self.store.record_cleanup();
        Some(Response::from_data("text/plain; version=0.0.4", self.recorder.render()))
    }
}

#[cfg(test)]
mod tests {
    use store_core::MemoryStore;

    use super::*;

    #[test]
    fn figures_are_for_this_machine_alone() -> Result<(), BoxError> {
        let (_, metrics) = Metrics::of(Box::new(MemoryStore::new()?))?;
        for (visitor, path, is_answered) in [
            ("127.0.0.1:9090", "/metrics", true),
            ("[::1]:9090", "/metrics", true),
            ("[::ffff:127.0.0.1]:9090", "/metrics", true),
            ("192.0.2.1:9090", "/metrics", false),
            ("[2001:db8::1]:9090", "/metrics", false),
            ("127.0.0.1:9090", "/", false),
        ] {
            let request =
                Request::fake_http_from(visitor.parse()?, "GET", path, Vec::new(), Vec::new());
            assert_eq!(metrics.respond(&request).is_some(), is_answered, "{visitor} {path}");
        }
        Ok(())
    }
}
