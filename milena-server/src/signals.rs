//! SIGTERM and Ctrl+C: the first asks for a stop, the second is obeyed at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The code of a process that a second signal ended: 128 + SIGTERM, as a shell shows it.
const EXIT_SECOND_SIGNAL: i32 = 143;

/// Waits for SIGTERM or Ctrl+C. From then on another one ends the process without further ado.
///
/// # Errors
/// When the system does not let the process handle signals.
pub async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = either(&mut terminate, &mut interrupt).await;
    tracing::info!(
        signal = name,
        "stop requested; a second signal exits at once"
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "it has to outlive every stop, to cut it short"
    )]
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("second signal: exiting at once");
        #[expect(
            clippy::disallowed_methods,
            reason = "that is what a second signal is for"
        )]
        std::process::exit(EXIT_SECOND_SIGNAL);
    });
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
