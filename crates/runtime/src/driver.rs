//! What `serve` asks of whatever runs instances.

use model::{Action, InstanceId, InstanceSeen};
use tokio::sync::watch;

/// Changes the world and says what it is. It decides nothing, and no method blocks: results show in [`observe`].
///
/// [`observe`]: Driver::observe
pub trait Driver: Send + Sync {
    /// Every instance this driver has, as last seen. One that is not in the answer does not exist here.
    fn observe(&self) -> Vec<InstanceSeen>;

    /// Begins an effect. Asking again for what was done, or is being done, does nothing. An action that is not about
    /// instances or artifacts is somebody else's and is ignored.
    fn perform(&self, action: Action);

    /// Gives up waiting for an instance: a start that has not happened yet will not happen, a stop no longer waits for
    /// its deadline and kills now.
    fn cancel(&self, id: InstanceId);

    /// Changes whenever [`observe`](Driver::observe) would answer differently. Several changes may be told as one.
    fn changes(&self) -> watch::Receiver<u64>;
}
