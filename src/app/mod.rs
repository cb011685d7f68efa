//! The composition root: builds a node out of settings, runs it, stops it in order. [`cli`] is what people type.
//!
//! [`Application::build`] is the only way to start a node; tests start the same one that `pixgate serve` does.

pub mod bootstrap;
pub mod cli;
mod doctor;
mod import;
mod kept;
mod keys;
mod models;
mod node;
mod server;
mod signals;
mod stop;

use std::{fs::File, net::TcpListener, rc::Rc};

use actix_web::dev::Server;

pub use stop::Stopper;

use self::node::{Node, Role};
use crate::{
    blobs::BlobError,
    clock::Clock,
    config::{Settings, secrets::SecretsError},
    control::ControlError,
    domain::seal::SealError,
    store::StoreError,
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("database: {0}")]
    Store(#[from] StoreError),
    #[error("blobs: {0}")]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("{0}")]
    Control(#[from] ControlError),
    #[error("{0}")]
    Settings(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Internal(String),
}

/// A node that is built and accepts connections once it runs.
pub struct Application {
    node: Rc<Node>,
    server: Server,
    stopper: Stopper,
    /// What the first start has to tell, once.
    welcome: Option<bootstrap::Welcome>,
    /// Held as long as the node lives.
    _data_dir_lock: File,
}

impl Application {
    /// Opens the database, takes over from a former run, starts the actors and binds the routes. Call it inside an actix system.
    pub async fn build(mut settings: Settings, listener: TcpListener, clock: Clock) -> Result<Self, StartError> {
        let lock = crate::config::secrets::lock_data_dir(&settings.server.data_dir)?;
        // The port may have been left to the system.
        settings.server.listen = listener.local_addr()?;
        let node = Rc::new(Node::build(&settings, clock, Role::Serve).await?);
        let welcome = bootstrap::prepare(&node.control()?, &settings).await?;
        let server = server::bind(&settings, listener, &node)?;
        let stopper = Stopper::new(&node, &settings, server.handle());
        Ok(Self { node, server, stopper, welcome, _data_dir_lock: lock })
    }

    /// Stops the node from another task or thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What the first start has to tell; `None` on every later one.
    pub fn welcome(&self) -> Option<&bootstrap::Welcome> {
        self.welcome.as_ref()
    }

    /// Serves until somebody stops it, then settles everything and returns.
    pub async fn run(self) -> std::io::Result<()> {
        self.server.await?;
        self.node.close().await;
        Ok(())
    }
}
