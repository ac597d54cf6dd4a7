// The core families: one line per command group. A node registers these, then its modules, through
// the same door.
import Engine

extension Extension {
    /// Every family that this target holds, in the order of registration.
    public static let core: [Extension] = [
        .generic,
        .strings,
        .transactions,
    ]
}
