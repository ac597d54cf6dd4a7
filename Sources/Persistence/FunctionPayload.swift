// Libraries of functions: an opcode and the source of each, in an RDB file and in the payload of
// FUNCTION DUMP, which ends like that of DUMP.
import Base

extension RDBWriter {
    /// A library of functions; they stand between the auxiliary fields and the first database.
    public mutating func functionLibrary(_ source: Bytes, into out: inout Buffer) {
        let mark = out.count
        out.append(RDBOpcode.functionLibrary)
        seal(out, from: mark)
        string(source, into: &out)
    }
}

extension AOFWriter {
    /// The command that loads a library.
    public static func functionLibrary(_ source: Bytes, into out: inout Buffer) {
        RESPText.begin(3, into: &out)
        RESPText.argument("FUNCTION", into: &out)
        RESPText.argument("LOAD", into: &out)
        RESPText.argument(source, into: &out)
    }
}

public enum FunctionPayload {
    public struct Problem: Error {
        public var text: String
    }

    /// Appends the payload of these libraries.
    public static func append(_ sources: [[UInt8]], compresses: Bool, to out: inout Buffer) {
        let mark = out.count
        var strings = RDBStringEncoder(compresses: compresses)
        for source in sources {
            out.append(RDBOpcode.functionLibrary)
            source.withBytes { strings.append($0, to: &out) }
        }
        DumpFooter.append(to: &out, from: mark)
    }

    /// The sources in a payload.
    public static func sources(
        _ payload: Bytes, verifiesChecksum: Bool
    ) throws(Problem) -> [[UInt8]] {
        guard let body = DumpFooter.verified(payload, verifiesChecksum: verifiesChecksum) else {
            throw Problem(text: "DUMP payload version or checksum are wrong")
        }
        var cursor = RDBCursor(body, largestString: 512 << 20)
        var scratch = Buffer()
        var sources: [[UInt8]] = []
        while cursor.left > 0 {
            guard cursor.byte() == RDBOpcode.functionLibrary else {
                throw Problem(text: "given type is not a function")
            }
            do throws(RDBError) {
                guard let source = try cursor.string() else {
                    throw RDBError(.truncated)
                }
                sources.append(try cursor.text(of: source, scratch: &scratch).array)
            } catch {
                throw Problem(text: "failed loading the given functions payload")
            }
        }
        return sources
    }
}
