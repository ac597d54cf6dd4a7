// Checks of our own reasoning, on in release builds. `precondition` traps without its text when
// optimised, so this one prints file, line and message first. A failed invariant is our bug: the
// client's mistakes are replies, the world's mistakes are values.
import CLinux
import Glibc

/// Stops the process with a readable message when `condition` is false.
@inline(__always)
public func invariant(
    _ condition: Bool,
    _ message: @autoclosure () -> StaticString = "",
    file: StaticString = #fileID,
    line: UInt = #line
) {
    if _slowPath(!condition) {
        invariantFailed(message(), file: file, line: line)
    }
}

/// A branch that no input can reach.
public func unreachable(
    _ message: StaticString,
    file: StaticString = #fileID,
    line: UInt = #line
) -> Never {
    invariantFailed(message, file: file, line: line)
}

/// Documents that both outcomes of `condition` are fine and expected.
@inline(__always)
public func maybe(_ condition: Bool) {}

@inline(never)
@usableFromInline
func invariantFailed(_ message: StaticString, file: StaticString, line: UInt) -> Never {
    clinux_print_error("INVARIANT FAILED \(file):\(line): \(message)\n")
    abort()
}
