"""Which BLAS serves a PyTorch's products on the CPU, and what to think of it as an opponent."""
import ctypes
import re

FINE, REFERENCE, UNKNOWN = "fine", "reference", "unknown"
LIBRARIES = (("OpenBLAS", "openblas_get_corename"), ("BLIS", "bli_info_get_version_str"), ("ATLAS", "ATL_buildinfo"))
BUILT_IN = {"open": "OpenBLAS", "openblas": "OpenBLAS", "blis": "BLIS", "atlas": "ATLAS", "accelerate": "Accelerate"}


def server(library):
    """The file whose sgemm_ a library calls: one of the whole process or of those that it is linked with. None: it has its own."""
    for handle in (ctypes.CDLL(None), ctypes.CDLL(library)):
        if hasattr(handle, "sgemm_"):
            return file_at(ctypes.cast(handle.sgemm_, ctypes.c_void_p).value)
    return None


def file_at(address):
    with open("/proc/self/maps") as maps:
        for line in maps:
            first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
            if first <= address < last:
                return line.split(maxsplit=5)[-1].strip()
    return None


def library_name(path, load):
    """By a function that no other has; where such are hidden, by the folder or file that is named after it."""
    library = load(path)
    for name, function in LIBRARIES:
        if hasattr(library, function):
            return "OpenBLAS (%s)" % core_name(library) if name == "OpenBLAS" else name
    return next((name for name, _ in LIBRARIES if name.lower() in path.lower()), None)


def core_name(library):
    library.openblas_get_corename.restype = ctypes.c_char_p
    return library.openblas_get_corename().decode()


def identify(config, path, load=ctypes.CDLL):
    """(name, grade) from torch.__config__.show() and the file that serves, which says more: what Debian's is built with is generic,
    and the alternatives decide. A libblas or libcblas that nothing tells from the reference is taken for it."""
    if "Math Kernel Library Version" in config or "BLAS_INFO=mkl" in config:
        return "MKL", FINE
    name = library_name(path, load) if path else None
    if name:
        return name, FINE
    if path and re.search(r"/lib(ref)?c?blas[^/]*$", path):
        return path, REFERENCE
    built_in = re.search(r"BLAS_INFO=(\w+)", config)
    name = BUILT_IN.get(built_in.group(1).lower()) if built_in else None
    return (name, FINE) if name else (path or "unknown BLAS", UNKNOWN)
