//! Customers of the shop.

use crate::{
    error::Error,
    load::{
        generator::{Pace, Plan, Running},
        mix::Mix,
        tally::Figures,
    },
};
use hyper::header::HeaderName;
use std::{net::SocketAddr, time::Duration};

/// Customers who look and buy until they are told to stop.
pub(crate) struct Traffic(Running);

impl Traffic {
    /// Sends them in, with so many requests per second. Must be called within a tokio runtime.
    pub(crate) fn start(address: SocketAddr, per_second: f64) -> Result<Traffic, Error> {
        let plan = Plan {
            address,
            host: address.to_string(),
            mix: Mix::shop().map_err(Error::Load)?,
            connections: 16,
            pace: Pace::Open { per_second },
            timeout: Duration::from_secs(10),
            by: Some(HeaderName::from_static("x-shop-version")),
            seed: 1,
        };
        Ok(Traffic(Running::start(plan)?))
    }

    /// Sends them home and counts what became of them.
    pub(crate) async fn stop(self) -> Figures {
        self.0.stop().await
    }
}
