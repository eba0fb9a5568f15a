/* What libclc lacks for NVIDIA, so that compilers.sh can compile it: the offset of a launch is where NVIDIA's driver has it. */
size_t __attribute__((overloadable, const)) get_global_offset(uint dimension)
{
    uint offset = 0;
    if (dimension == 0) __asm__("mov.u32 %0, %%envreg3;" : "=r"(offset));
    else if (dimension == 1) __asm__("mov.u32 %0, %%envreg4;" : "=r"(offset));
    else if (dimension == 2) __asm__("mov.u32 %0, %%envreg5;" : "=r"(offset));
    return offset;
}
