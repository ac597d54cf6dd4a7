// The two halves of saying that a key changed, apart: a value that has other bytes and says the
// same fails transactions but is no event; what happens to a stream's groups is an event but no
// change of the stream.
import Base
import Storage

extension Call {
    /// Fails those who watch `key`, and tells nobody else.
    public func touchWatchers(_ key: KeyRef) {
        if executor.pointee.tracksChanges { executor.invalidate(key.bytes) }
        guard !executor.pointee.watch.isEmpty else { return }
        let exists = keyspace.find(key) != nil
        executor.pointee.watch.touch(
            database: Int32(key.database), key: key.bytes, exists: exists)
    }

    /// Tells observers of an event, and fails nobody who watches.
    public func tell(_ eventClass: KeyEventClass, _ event: StaticString, _ key: KeyRef) {
        guard let hook = executor.pointee.keyEvent else { return }
        KeyEvent.send(hook, executor, eventClass, event, key)
    }
}
