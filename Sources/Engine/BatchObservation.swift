// Those who want to know of each command what it cost: the hot keys, which look at one command in
// 64, the counts per slot, the log of large requests. A batch that none of them waits for costs one
// subtraction and two comparisons; of another, the commands in question are weighed before and
// after they run.
import Base
import HashSlots
import RESP
import Storage

/// When the hot keys look at a command.
struct Sampling {
    /// Commands to go; negative in a batch that holds the command.
    var left = HotKeys.sampledPart
    /// What `left` began with.
    var interval = HotKeys.sampledPart
    /// Commands since the last sample that were not counted down: the rest of its batch.
    var carried = 0
    /// How many commands of the batch come after the one that is looked at.
    var rest = 0
}

/// The commands of a batch that are weighed.
struct WeighedCommands {
    var first = 0
    var count: UInt = 0

    @inline(__always)
    func contains(_ index: Int) -> Bool { UInt(bitPattern: index &- first) < count }
}

/// What was known before a command ran.
struct CommandWeight {
    var ticks: UInt64 = 0
    var output = 0
}

extension ExecutorPointer {
    /// Which commands of a batch must be weighed.
    @inline(__always)
    func weighed(_ commands: Int, inputBytes: Int) -> WeighedCommands {
        pointee.sampling.left &-= commands
        if _fastPath(pointee.sampling.left >= 0 && inputBytes < pointee.timer.weighedFrom) {
            return WeighedCommands()
        }
        return chooseWeighed(commands, inputBytes)
    }

    @inline(never)
    private func chooseWeighed(_ commands: Int, _ inputBytes: Int) -> WeighedCommands {
        var weighed = WeighedCommands()
        if pointee.sampling.left < 0 {
            weighed.first = Swift.max(0, pointee.sampling.left + commands)
            weighed.count = 1
            pointee.sampling.rest = commands - weighed.first - 1
        }
        if inputBytes >= pointee.timer.weighedFrom {
            weighed = WeighedCommands(first: 0, count: UInt(commands))
        }
        return weighed
    }

    func weighBefore(_ session: UnsafeMutablePointer<Session>) -> CommandWeight {
        endTimedRun()
        return CommandWeight(
            ticks: pointee.timer.last, output: session.pointee.output.pointee.count)
    }

    /// A command ran. `rest` commands of the batch come after it; its request had `size` bytes.
    @inline(never)
    func weighAfter(
        _ parsed: UnsafeMutablePointer<ParsedCommand>, _ session: UnsafeMutablePointer<Session>,
        _ before: CommandWeight, size: Int, rest: Int
    ) {
        endTimedRun()
        let nanoseconds = pointee.timer.nanoseconds(from: before.ticks, to: pointee.timer.last)
        let reply = Swift.max(0, session.pointee.output.pointee.count - before.output)
        if pointee.sampling.left < 0, rest == pointee.sampling.rest {
            sample(parsed.pointee.key, nanoseconds, size + reply)
        }
        if let stats = pointee.slotStats, let key = parsed.pointee.key, key.database == 0 {
            stats[Int(key.slot)].add(nanoseconds, bytesIn: size, bytesOut: reply)
        }
        if size >= pointee.settings.largeRequestFrom, pointee.settings.largeRequestFrom >= 0 {
            noteLargeRequest(parsed, session, size)
        }
    }

    private func sample(_ key: KeyRef?, _ nanoseconds: UInt64, _ bytes: Int) {
        let sampling = pointee.sampling
        let interval = HotKeys.interval(&pointee.prng)
        pointee.sampling = Sampling(left: interval, interval: interval, carried: sampling.rest)
        guard let key else { return }
        // It stands for all commands since the last one.
        pointee.hotKeys.add(
            key, commands: Double(sampling.carried + sampling.interval + 1), bytes: Double(bytes),
            nanoseconds: Double(nanoseconds), at: pointee.now.instant)
    }

    // MARK: Large requests and replies

    private func noteLargeRequest(
        _ parsed: UnsafeMutablePointer<ParsedCommand>, _ session: UnsafeMutablePointer<Session>,
        _ size: Int
    ) {
        let frame = pointee.frame
        let arguments = UnsafePointer(pointee.arguments.base + parsed.pointee.firstArgument)
        // What was not called (queued, refused) left the frame as it was.
        guard let command = frame.pointee.command, frame.pointee.arguments == arguments,
            !command.pointee.flags.contains(.skipSlowlog)
        else { return }
        note(.largeRequest, frame, session, Int64(size), pointee.settings.largeRequestLength)
    }

    @inline(never)
    func noteLargeReply(_ session: UnsafeMutablePointer<Session>, _ size: Int) {
        let frame = pointee.frame
        guard let command = frame.pointee.command, !command.pointee.flags.contains(.skipSlowlog)
        else { return }
        note(.largeReply, frame, session, Int64(size), pointee.settings.largeReplyLength)
    }

    func note(
        _ kind: CommandLogKind, _ frame: UnsafeMutablePointer<CallFrame>,
        _ session: UnsafeMutablePointer<Session>, _ value: Int64, _ length: Int
    ) {
        guard length > 0 else { return }
        let arguments = CommandLog.trimmed(frame.pointee.argumentCount, frame.pointee.shown)
        pointee.commandLogs[kind].append(
            arguments, session, value: value, at: pointee.now.wall, keeping: length)
    }

    // MARK: Slots

    /// Begins or ends to count what each slot costs, as the settings say.
    public func applySlotStats() {
        let wanted =
            pointee.settings.clusterEnabled && pointee.settings.clusterSlotStats
            && pointee.keyspace.isSlotted
        if wanted, pointee.slotStats == nil {
            let stats = UnsafeMutablePointer<SlotUsage>.allocate(capacity: Slot.count)
            stats.initialize(repeating: SlotUsage(), count: Slot.count)
            pointee.slotStats = stats
        } else if !wanted, let stats = pointee.slotStats {
            stats.deallocate()
            pointee.slotStats = nil
        }
    }

    /// Forgets what slots have cost: all of them, or one that came or went.
    public func resetSlotStats(_ slot: Slot? = nil) {
        guard let stats = pointee.slotStats else { return }
        if let slot {
            stats[Int(slot.index)] = SlotUsage()
        } else {
            stats.update(repeating: SlotUsage(), count: Slot.count)
        }
    }
}

/// What commands on the keys of one slot have cost (CLUSTER SLOT-STATS).
public struct SlotUsage {
    private var nanoseconds: UInt64 = 0
    public private(set) var bytesIn: UInt64 = 0
    public private(set) var bytesOut: UInt64 = 0

    public var microseconds: UInt64 { nanoseconds / 1000 }

    @inline(__always)
    mutating func add(_ nanoseconds: UInt64, bytesIn: Int, bytesOut: Int) {
        self.nanoseconds &+= nanoseconds
        self.bytesIn &+= UInt64(bytesIn)
        self.bytesOut &+= UInt64(bytesOut)
    }
}

extension ExecutorPointer {
    /// What the commands on a slot's keys have cost; nothing while it is not counted.
    public func usage(of slot: Slot) -> SlotUsage {
        pointee.slotStats.map { $0[Int(slot.index)] } ?? SlotUsage()
    }
}
