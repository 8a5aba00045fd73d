//! Contenders that are called from tasks of a multi-thread runtime.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::load::{Kind, Load};
use crate::order::{Measurement, Order};
use crate::process::Process;
use crate::program::{Result, UNSUPPORTED};

/// A store that is async.
pub trait Peer: Send + Sync + 'static {
    /// Whether the session exists.
    fn find(&self, key: u64) -> impl Future<Output = Result<bool>> + Send;

    /// Inserts or overwrites; `data` is text, because these stores keep values, not bytes.
    fn commit(&self, key: u64, data: &str) -> impl Future<Output = Result> + Send;
}

/// The runtime that `#[tokio::main]` makes.
pub fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// Carries out an order, with a task for each of its threads.
pub fn measure_tasks<P: Peer>(runtime: &Runtime, peer: P, order: &Order) -> Result<Measurement> {
    let peer = Arc::new(peer);
    runtime.block_on(async {
        peer.find(0).await?;
        let idle = Process::idle();
        let mut tasks = JoinSet::new();
        for task in 0..order.scenario.threads {
            tasks.spawn(work(Arc::clone(&peer), order.clone(), task));
        }
        let mut loads = Vec::new();
        while let Some(load) = tasks.join_next().await {
            loads.push(load??);
        }
        Load::merge(order, idle, &loads)
    })
}

async fn work<P: Peer>(peer: Arc<P>, order: Order, task: usize) -> Result<Load> {
    let data = "x".repeat(order.scenario.data_len);
    let mut token = String::new();
    let mut load = Load::new(&order, task)?;
    while let Some(step) = load.next(&mut token) {
        let is_correct = match step.kind {
            Kind::Find => peer.find(step.key).await?,
            Kind::Miss => !peer.find(step.key).await?,
            Kind::Commit => peer.commit(step.key, &data).await.map(|()| true)?,
            _ => return Err(UNSUPPORTED.into()),
        };
        load.done(is_correct)?;
    }
    Ok(load)
}
