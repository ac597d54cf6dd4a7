// The core families, one line each. Modules add themselves in the same way.
import Engine

public enum CoreCommands {
    public static var extensions: [Extension] {
        [
            .connection,
            .server,
            .generic,
            .strings,
            .hashes,
            .sortedSets,
            .geo,
            .sets,
            .bitmaps,
            .lists,
            .hyperLogLogs,
            .streams,
            .transactions,
            .pubsub,
        ]
    }
}
