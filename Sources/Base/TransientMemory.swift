// Large work space of one command, outside of the accounted memory of the data. Unlike Swift's own
// allocation it can fail: a client that asks for too much gets an error, not the process an end.
import Glibc

public enum TransientMemory {
    /// `size` bytes, or nil when there are not so many.
    public static func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
        invariant(size > 0, "no memory was asked for")
        return malloc(size)
    }

    public static func free(_ memory: UnsafeMutableRawPointer) { Glibc.free(memory) }
}
