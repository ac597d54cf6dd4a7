// LATENCY: the events that took too long, and how the times of each command are distributed. The
// texts of DOCTOR are our own; the other replies are the reference's, the graph included.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerLatencyCommands() {
        command(
            "latency", since: "2.8.13", arity: -2,
            summary: "A container for latency diagnostics commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "doctor", of: "latency", since: "2.8.13", arity: 2,
            [.admin, .noScript, .loading, .stale],
            summary: "Return a human readable latency analysis report.",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_nodes
            response_policy:special
            """
        ) { doctor(Call($0)) }

        command(
            "graph", of: "latency", since: "2.8.13", arity: 3,
            [.admin, .noScript, .loading, .stale],
            syntax: "event",
            summary: "Return a latency graph for the event.",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_nodes
            response_policy:special
            """
        ) { graph(Call($0)) }

        command(
            "help", of: "latency", since: "2.8.13", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands.",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "histogram", of: "latency", since: "7.0.0", arity: -2,
            [.admin, .noScript, .loading, .stale],
            syntax: "[command:string]...",
            summary: """
            Return the cumulative distribution of latencies of a subset of commands or all.
            """,
            complexity: """
            O(N) where N is the number of commands with latency information being retrieved.
            """,
            tips: """
            nondeterministic_output
            request_policy:all_nodes
            response_policy:special
            """
        ) { histogram(Call($0)) }

        command(
            "history", of: "latency", since: "2.8.13", arity: 3,
            [.admin, .noScript, .loading, .stale],
            syntax: "event",
            summary: "Return timestamp-latency samples for the event.",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_nodes
            response_policy:special
            """
        ) { history(Call($0)) }

        command(
            "latest", of: "latency", since: "2.8.13", arity: 2,
            [.admin, .noScript, .loading, .stale],
            summary: "Return the latest latency samples for all events.",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_nodes
            response_policy:special
            """
        ) { latest(Call($0)) }

        command(
            "reset", of: "latency", since: "2.8.13", arity: -2,
            [.admin, .noScript, .loading, .stale],
            syntax: "[event]...",
            summary: "Reset latency data for one or more events.",
            complexity: "O(1)",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { reset(Call($0)) }
    }
}

private func history(_ call: Call) {
    let samples = call.executor.pointee.latency.series(of: call[2])?.samples ?? []
    call.reply.array(samples.count)
    for sample in samples {
        call.reply.array(2)
        call.reply.integer(sample.time)
        call.reply.integer(sample.milliseconds)
    }
}

private func latest(_ call: Call) {
    let all = call.executor.pointee.latency.series
    call.reply.array(all.count)
    for series in all {
        call.reply.array(4)
        call.reply.bulk(series.event)
        call.reply.integer(series.samples.last?.time ?? 0)
        call.reply.integer(series.samples.last?.milliseconds ?? 0)
        call.reply.integer(series.worst)
    }
}

private func reset(_ call: Call) {
    guard call.count > 2 else {
        return call.reply.integer(call.executor.pointee.latency.reset())
    }
    var count = 0
    for index in 2..<call.count { count += call.executor.pointee.latency.reset(call[index]) }
    call.reply.integer(count)
}

// MARK: Histograms

private func histogram(_ call: Call) {
    let table = call.executor.pointee.commands
    var chosen: [Int] = []
    if call.count == 2 {
        chosen = Array(0..<table.pointee.count)
    } else {
        for index in 2..<call.count { chosen += commands(call, named: call[index]) }
    }
    let shown = chosen.filter { !table.pointee.commands[$0].times.isEmpty }
    call.reply.map(shown.count)
    for id in shown {
        let times = table.pointee.commands[id].times
        let steps = times.cumulative
        call.reply.bulk(table.pointee.declarations[id].fullName)
        call.reply.map(2)
        call.reply.bulk("calls")
        call.reply.integer(times.count)
        call.reply.bulk("histogram_usec")
        call.reply.map(steps.count)
        for step in steps {
            call.reply.integer(step.microseconds)
            call.reply.integer(step.count)
        }
    }
}

/// The command of this name and its subcommands; nothing if there is none.
private func commands(_ call: Call, named name: Bytes) -> [Int] {
    let table = call.executor.pointee.commands
    let wanted = name.string.lowercased()
    return (0..<table.pointee.count).filter { id in
        let declaration = table.pointee.declarations[id]
        return declaration.fullName == wanted
            || declaration.container.map { "\($0)" == wanted } ?? false
    }
}

// MARK: Graph

private func graph(_ call: Call) {
    guard let series = call.executor.pointee.latency.series(of: call[2]) else {
        return call.reply.error(
            Array("ERR No samples available for event '".utf8) + call[2].array + [39])
    }
    let now = call.now.seconds
    let values = series.samples.map(\.milliseconds)
    let labels = series.samples.map { age(now - $0.time) }
    let high = values.max() ?? 0
    let low = values.min() ?? 0
    var text = "\(series.event) - high \(high) ms, low \(low) ms "
    text += "(all time high \(series.worst) ms)\n"
    text += String(repeating: "-", count: Sparkline.columns) + "\n"
    text += Sparkline(values, labels).text
    call.reply.verbatim(text)
}

/// How long ago, in one word.
private func age(_ seconds: Int64) -> String {
    switch seconds {
    case ..<60: "\(seconds)s"
    case ..<3600: "\(seconds / 60)m"
    case ..<86400: "\(seconds / 3600)h"
    default: "\(seconds / 86400)d"
    }
}

/// Values as columns of characters, four rows high, each with its label written downwards.
struct Sparkline {
    static let columns = 80
    private static let rows = 4
    private static let marks: [UInt8] = Array("_o#".utf8)
    private let values: [Int64]
    private let labels: [[UInt8]]
    private let lowest: Int64
    private let range: Double

    init(_ values: [Int64], _ labels: [String]) {
        invariant(values.count == labels.count, "each value has a label")
        self.values = values
        self.labels = labels.map { Array($0.utf8) }
        lowest = values.min() ?? 0
        range = max(1, Double((values.max() ?? 0) - lowest))
    }

    var text: String {
        var out: [UInt8] = []
        for start in stride(from: 0, to: values.count, by: Sparkline.columns) {
            if start > 0 { out.append(10) }
            render(start..<min(values.count, start + Sparkline.columns), into: &out)
        }
        return String(decoding: out, as: UTF8.self)
    }

    private func render(_ part: Range<Int>, into out: inout [UInt8]) {
        for row in 0..<Sparkline.rows {
            for index in part { out.append(mark(values[index], row)) }
            out.append(10)
        }
        out += [UInt8](repeating: 32, count: part.count) + [10]
        for line in 0..<(part.map { labels[$0].count }.max() ?? 0) {
            for index in part {
                out.append(line < labels[index].count ? labels[index][line] : 32)
            }
            out.append(10)
        }
    }

    private func mark(_ value: Int64, _ row: Int) -> UInt8 {
        let steps = Sparkline.marks.count * Sparkline.rows
        let share = Double(value - lowest) * Double(steps) / range
        let step = min(Int(share), steps - 1)
        let level = step - (Sparkline.rows - row - 1) * Sparkline.marks.count
        if level < 0 { return 32 }
        return level < Sparkline.marks.count ? Sparkline.marks[level] : UInt8(ascii: "|")
    }
}

// MARK: Doctor

private func doctor(_ call: Call) {
    let settings = call.executor.pointee.settings
    let all = call.executor.pointee.latency.series
    if all.isEmpty {
        return call.reply.verbatim(
            settings.latencyMonitorThreshold == 0
                ? """
                The latency monitor is off, so there is nothing to diagnose. Turn it on with \
                CONFIG SET latency-monitor-threshold <milliseconds>.\n
                """
                : """
                No event has reached latency-monitor-threshold \
                (\(settings.latencyMonitorThreshold) ms) so far.\n
                """)
    }
    var text = "Events that reached the threshold:\n\n"
    for (index, series) in all.enumerated() {
        text += "\(index + 1). " + summary(series, now: call.now.seconds) + "\n"
    }
    text += "\nWhat may help:\n\n"
    for series in all {
        for line in advice(series.event, settings) { text += "- \(line)\n" }
    }
    call.reply.verbatim(text)
}

private func summary(_ series: LatencySeries, now: Int64) -> String {
    let values = series.samples.map(\.milliseconds)
    let count = Int64(max(1, values.count))
    let mean = values.reduce(0, +) / count
    let deviation = values.reduce(0) { $0 + abs(mean - $1) } / count
    let span = max(1, now - (series.samples.first?.time ?? now))
    let period = MemoryText.fixed(Double(span) / Double(count), 2)
    return "\(series.event): \(values.count) latency spikes (average \(mean)ms, mean deviation "
        + "\(deviation)ms, period \(period) sec). Worst all time event \(series.worst)ms."
}

private func advice(_ event: StaticString, _ settings: Settings) -> [String] {
    switch "\(event)" {
    case "command":
        var out = ["Look into SLOWLOG GET: it names the commands that were slow."]
        let threshold = settings.latencyMonitorThreshold
        if settings.slowLogThreshold < 0 || settings.slowLogThreshold / 1000 > threshold {
            out.append(
                "The slow log misses these events: CONFIG SET slowlog-log-slower-than "
                    + "\(threshold * 1000) makes it keep them.")
        }
        return out
    case "fast-command":
        return [
            "Commands that do little were slow: the process did not get its processor. Look for "
                + "other load on this machine or a busy neighbour of this virtual machine, and "
                + "compare with redis-cli --intrinsic-latency 100 while the server is stopped."
        ]
    case "expire-cycle", "expire-del":
        return [
            "Many keys, or large ones, expired at once: spread their deadlines, or set "
                + "lazyfree-lazy-expire yes."
        ]
    case "eviction-cycle", "eviction-del":
        return [
            "Much had to be evicted at once: avoid sudden changes of maxmemory and large "
                + "imports close to it, or set lazyfree-lazy-eviction yes."
        ]
    default:
        return ["There is no special advice about \(event)."]
    }
}

private func help(_ call: Call) {
    call.replyHelp([
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        """
            Return a cumulative distribution of latencies in the format of a histogram for the \
        specified command names.
        """,
        "    If no commands are specified then all histograms are replied.",
    ])
}
