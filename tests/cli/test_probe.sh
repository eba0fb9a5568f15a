# What probe says of every device; apart from the others, for the first time it compiles the kernels of the self-test.
. "$(dirname "$0")/lib.sh"

run probe
expect 0
prints '^native  ' '<- auto takes this one' '  compute  ' '  memory  ' '  precision  ' '  self-test     passed'
run OCL_ICD_VENDORS=/nonexistent probe --json
expect 0 'no OpenCL driver is installed'
prints '"selector": "native"' '"auto": true' '"passed": true'
finish
