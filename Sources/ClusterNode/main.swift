import Glibc
import Server

exit(boot())
