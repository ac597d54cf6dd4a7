import Glibc
import Server

exit(bootSentinel())
