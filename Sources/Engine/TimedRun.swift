// Short commands of one kind in a row are timed together: reading the counter costs as much as a
// tenth of a GET, and pipelines repeat themselves. A run ends with another command, a reply of some
// size, its limit, and its batch, so that whoever asks for the statistics finds them complete. The
// calls share the time of their run equally; how long each of a few dozen nanoseconds took alone is
// what the histogram no longer tells. While somebody wants to know of commands shorter than 5 ms
// (the slow log, MONITOR), each is timed by itself.
import Base

struct TimedRun {
    /// At most so many commands.
    static let longest = 16
    /// A command with a longer reply is the last of its run: the time was most likely its own.
    static let longReply = 1024
    /// Batches of at most so many bytes; in a larger one a single request may be the cost.
    static let longestInput = 32 << 10
    /// Nobody may ask for commands shorter than this; a whole run is.
    static let observedFrom: UInt64 = 5_000_000

    var command: UnsafeMutablePointer<Command>?
    var count: UInt64 = 0
    /// How many there may be in the current batch; 1 while each is timed by itself.
    var limit: UInt64 = 1
}

extension CommandTimer {
    /// A batch of so many bytes begins.
    @inline(__always)
    mutating func beginBatch(inputBytes: Int) {
        invariant(run.count == 0, "a run belongs to one batch")
        let mayShare = inputBytes <= TimedRun.longestInput && observedFrom >= TimedRun.observedFrom
        run.limit = mayShare ? UInt64(TimedRun.longest) : 1
        start()
    }
}

extension ExecutorPointer {
    /// Counts the commands of the open run, if there is one.
    @inline(__always)
    func endTimedRun() {
        if pointee.timer.run.count > 0 { closeTimedRun() }
    }

    @inline(never)
    private func closeTimedRun() {
        let run = pointee.timer.run
        pointee.timer.run.count = 0
        guard let command = run.command else { unreachable("a run is of some command") }
        let end = pointee.timer.ticks()
        let spent = pointee.timer.nanoseconds(from: pointee.timer.last, to: end)
        pointee.timer.last = end
        command.pointee.nanoseconds &+= spent
        command.pointee.calls &+= Int64(run.count)
        if pointee.settings.latencyTracking {
            command.pointee.times.add(spent / run.count, calls: UInt32(run.count))
        }
        // The frame still shows its last command.
        if spent >= pointee.timer.observedFrom { observe(pointee.frame, nanoseconds: spent) }
    }
}
