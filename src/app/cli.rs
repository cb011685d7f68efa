//! What people type. Exit codes: 0 ok, 1 failure, 2 bad configuration.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

use std::{io::Write, net::TcpListener, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use super::{
    Application, StartError, doctor,
    keys::{self, KeysCommand},
    models::{self, ModelsCommand},
    node,
};
use crate::{
    clock::Clock,
    config::{self, Loaded, Settings, Sources},
    control::sign_in,
    http::site,
    mail::smtp::Smtp,
    telemetry::logging,
};

const FAILURE: u8 = 1;
const BAD_CONFIGURATION: u8 = 2;

#[derive(Parser)]
#[command(name = "pixgate", version, about = "Self-hosted, credit-metered gateway to AI models")]
struct Arguments {
    /// Settings file; without it, ./pixgate.toml when there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Bring the database to this version's schema, then exit
    Migrate,
    /// Check the settings and name everything that is wrong with them
    CheckConfig,
    /// Check the database, the mail server and every upstream, and print a table
    Doctor,
    /// Manage admins
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Take over keys of a former gateway, replace the pepper
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Import models and prices
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Take over what another gateway was set up with
    Import {
        #[command(subcommand)]
        from: super::import::From,
    },
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Create an admin account and print its sign-in link
    Create {
        #[arg(long)]
        email: String,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Some(Command::Openapi)) {
        // A reader that has seen enough closes the pipe; that is no failure.
        let _ = writeln!(std::io::stdout().lock(), "{}", site::openapi_json());
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Models { command: command @ ModelsCommand::Price { .. } }) = arguments.command {
        return models::price(command);
    }
    let loaded = match config::load(&Sources::of_process(arguments.config)) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let system = actix::System::new();
    system.block_on(async {
        match arguments.command.unwrap_or(Command::Serve) {
            Command::Serve => serve(loaded).await,
            Command::Migrate => report(migrate(&loaded.settings).await),
            Command::CheckConfig => check_config(&loaded),
            Command::Doctor => doctor::run(&loaded.settings).await,
            Command::Admin { command: AdminCommand::Create { email } } => report(create_admin(&loaded.settings, &email).await),
            Command::Keys { command } => keys::run(&loaded.settings, command).await.unwrap_or_else(|error| fail(&error)),
            Command::Models { command } => models::import(&loaded.settings, command).await.unwrap_or_else(|error| fail(&error)),
            Command::Import { from } => report(super::import::run(&loaded.settings, &from).await),
            Command::Openapi => ExitCode::SUCCESS,
        }
    })
}

fn report(outcome: Result<String, StartError>) -> ExitCode {
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &StartError) -> ExitCode {
    eprintln!("pixgate: {error}");
    ExitCode::from(if matches!(error, StartError::Settings(_)) { BAD_CONFIGURATION } else { FAILURE })
}

fn check_config(loaded: &Loaded) -> ExitCode {
    for note in &loaded.notes {
        println!("note: {note}");
    }
    if let Err(message) = Smtp::of(&loaded.settings.mail) {
        eprintln!("{message}");
        return ExitCode::from(BAD_CONFIGURATION);
    }
    println!("the settings are fine");
    ExitCode::SUCCESS
}

async fn serve(loaded: Loaded) -> ExitCode {
    let Loaded { settings, notes } = loaded;
    let options = logging::Options {
        format: settings.telemetry.log_format,
        filter: settings.telemetry.log_filter.clone(),
        otlp_endpoint: settings.telemetry.otlp_endpoint.clone(),
        node_name: settings.server.node_name.clone().unwrap_or_else(|| "pixgate".to_owned()),
    };
    let logging = match logging::init(&options) {
        Ok(guard) => guard,
        Err(error) => return fail(&StartError::Settings(error.to_string())),
    };
    for note in notes {
        tracing::warn!("{note}");
    }
    let code = match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    logging.shutdown();
    code
}

async fn run(settings: Settings) -> Result<(), StartError> {
    let listener = TcpListener::bind(settings.server.listen)
        .map_err(|error| StartError::Internal(format!("cannot listen on {}: {error}", settings.server.listen)))?;
    let address = listener.local_addr()?;
    let application = Application::build(settings, listener, Clock::system()).await?;
    if let Some(welcome) = application.welcome() {
        // Shown once, so it must not be lost to a closed pipe.
        if writeln!(std::io::stdout().lock(), "{welcome}").is_err() {
            eprintln!("{welcome}");
        }
    }
    tracing::info!(address = %address, version = env!("CARGO_PKG_VERSION"), "serving");
    let stopper = application.stopper();
    super::signals::stop_on_signal(stopper)?;
    application.run().await?;
    tracing::info!("stopped");
    Ok(())
}

async fn migrate(settings: &Settings) -> Result<String, StartError> {
    let db = node::open_database(settings).await?;
    let pending = db.pending_migrations().await?;
    db.migrate().await?;
    db.close().await?;
    Ok(match pending.as_slice() {
        [] => "the database is up to date".to_owned(),
        names => format!("applied {}", names.join(", ")),
    })
}

async fn create_admin(settings: &Settings, email: &str) -> Result<String, StartError> {
    let node = node::Node::build(settings, Clock::system(), node::Role::Maintain).await?;
    let control = node.control()?;
    let account = sign_in::create_admin(&control, email).await?;
    let token = sign_in::create_link(&control, &account.id).await?;
    node.close().await;
    let base_url = settings.public_url();
    let base_url = base_url.trim_end_matches('/');
    Ok(format!("created {} for {email}\nsign in: {base_url}/auth/link?token={token}", account.id))
}
