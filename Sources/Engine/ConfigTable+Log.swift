// The directives of the append-only file. Names, defaults and ranges are those of the reference
// (7.0.15), but for the bound on damaged ends, which later versions of it have.
import Base

extension ConfigTable {
    static func addLog(_ table: inout ConfigEntries) {
        table.bool("appendonly", \.appendOnly, flags: [.denyLoading])
        table.choice("appendfsync", \.appendSync, ["everysec", "always", "no"])
        table.text(
            "appendfilename", \.appendFilename, emptyIsUnset: false, flags: [.immutable]
        ) { name in
            isBaseName(name) ? nil : "appendfilename can't be a path, just a filename"
        }
        table.text(
            "appenddirname", \.appendFolder, emptyIsUnset: false, flags: [.immutable]
        ) { name in
            isBaseName(name) ? nil : "appenddirname can't be a path, just a dirname"
        }
        table.bool("no-appendfsync-on-rewrite", \.noAppendSyncOnRewrite)
        table.bool("aof-load-truncated", \.logLoadTruncated)
        table.number(
            "aof-load-corrupt-tail-max-size", \.logRepairBound, 0...Int.max, .memory)
        table.bool("aof-use-rdb-preamble", \.logUsesPreamble)
        table.bool("aof-timestamp-enabled", \.logTimestamps)
        table.bool("aof-disable-auto-gc", \.logKeepsHistory)
        table.number("auto-aof-rewrite-percentage", \.logRewritePercentage, 0...intMax)
        table.number("auto-aof-rewrite-min-size", \.logRewriteMinSize, 0...Int.max, .memory)
    }
}
