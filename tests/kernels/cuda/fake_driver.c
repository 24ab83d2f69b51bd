/* An NVIDIA driver without a GPU, for tests of what the host asks of one.

   Device memory is the host's, and kernels do nothing. What a driver would refuse is refused:
   copies beyond an allocation, blocks that are too large, copies and launches out of turn while a
   stream is recorded, graphs that are gone. At its end it writes to the file FAKE_DRIVER_COUNTS
   how many kernels were launched one by one, and how many graphs. FAKE_DRIVER_BYTES is the memory
   of its GPU. Signatures are those of NVIDIA's cuda.h, handles of all kinds `void *`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 1, NO_MEMORY = 2, CAPTURING = 900, NOT_CAPTURING = 901, NOT_FOUND = 500 };
typedef void *Handle;
typedef uint64_t Address;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { Address at; size_t size; } allocated[1 << 16];
static size_t allocations, used;
static long launched, graphs_launched, recorded = -1; /* kernels; -1 while nothing is recorded */
static int context, stream; /* to point to */
static _Thread_local Handle current;
struct graph { long kernels; };

static size_t memory(void) {
    const char *bytes = getenv("FAKE_DRIVER_BYTES");
    return bytes ? strtoull(bytes, 0, 10) : (size_t)2 << 30;
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("FAKE_DRIVER_COUNTS");
    FILE *file = path ? fopen(path, "w") : 0;
    if (!file) return;
    fprintf(file, "{\"kernels\": %ld, \"graphs\": %ld}\n", launched, graphs_launched);
    fclose(file);
}

/* The driver, its one device and context. */

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int number) { *device = number; return number ? INVALID : OK; }
int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "fake");
    return OK;
}
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 7, 16); return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const int known[][2] = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, /* threads of a block, its sides */
        {5, 2147483647}, {6, 65535}, {7, 65535},  /* sides of a grid */
        {8, 49152}, {10, 32}, {12, 65536},        /* shared memory, warp, registers */
        {16, 132}, {39, 2048}, {75, 9}, {76, 0},  /* multiprocessors, their threads, 9.0 */
    };
    *value = 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i][0] == attribute) *value = known[i][1];
    return OK;
}
int cuDevicePrimaryCtxRetain(Handle *result, int device) { *result = &context; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxGetCurrent(Handle *result) { *result = current; return OK; }
int cuCtxSetCurrent(Handle wanted) { current = wanted; return OK; }
int cuCtxPushCurrent_v2(Handle wanted) { current = wanted; return OK; }
int cuCtxPopCurrent_v2(Handle *result) { *result = current; current = 0; return OK; }
int cuCtxGetDevice(int *device) { *device = 0; return OK; }
int cuCtxGetDevice_v2(int *device, Handle of) { *device = 0; return OK; }
int cuCtxSynchronize(void) { return recorded < 0 ? OK : CAPTURING; }
int cuGetErrorName(int error, const char **name) {
    *name = error == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_FAKE_DRIVER";
    return OK;
}
int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

/* Memory. */

int cuMemGetInfo_v2(size_t *left, size_t *total) {
    *total = memory();
    *left = *total - used;
    return OK;
}
int cuMemAlloc_v2(Address *address, size_t size) {
    int status = NO_MEMORY;
    pthread_mutex_lock(&lock);
    if (used + size <= memory() && allocations < sizeof allocated / sizeof *allocated) {
        *address = (Address)calloc(1, size);
        allocated[allocations].at = *address;
        allocated[allocations++].size = size;
        used += size;
        status = OK;
    }
    pthread_mutex_unlock(&lock);
    return status;
}
int cuMemFree_v2(Address address) {
    int status = INVALID;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < allocations; i++)
        if (allocated[i].at == address) {
            used -= allocated[i].size;
            allocated[i] = allocated[--allocations];
            free((void *)address);
            status = OK;
            break;
        }
    pthread_mutex_unlock(&lock);
    return status;
}
static int copy(void *to, const void *from, size_t size, Address on_device) {
    int status = recorded < 0 ? INVALID : CAPTURING; /* it would wait for what is recorded */
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < allocations && status == INVALID; i++)
        if (on_device >= allocated[i].at &&
            on_device + size <= allocated[i].at + allocated[i].size) {
            memcpy(to, from, size);
            status = OK;
        }
    pthread_mutex_unlock(&lock);
    return status;
}
int cuMemcpyHtoD_v2(Address to, const void *from, size_t size) {
    return copy((void *)to, from, size, to);
}
int cuMemcpyDtoH_v2(void *to, Address from, size_t size) {
    return copy(to, (void *)from, size, from);
}

/* Kernels: numba-cuda links in the process and loads libraries; Numba's own target lets the
   driver link, and loads modules. */

static int make(Handle *handle) { /* one of its own: Numba tells them apart */
    *handle = malloc(1);
    return OK;
}
int cuLibraryLoadData(Handle *library, const void *code, int *o, void **v, unsigned n, int *p,
                      void **w, unsigned m) {
    return make(library);
}
int cuLibraryUnload(Handle library) { return OK; }
int cuLibraryGetKernel(Handle *kernel, Handle library, const char *name) {
    return make(kernel);
}
int cuKernelGetAttribute(int *value, int attribute, Handle kernel, int device) {
    *value = attribute ? 64 : 1024;
    return OK;
}
int cuLinkCreate_v2(unsigned n, int *o, void **v, Handle *link) { return make(link); }
int cuLinkAddData_v2(Handle link, int kind, void *data, size_t size, const char *name, unsigned n,
                     int *o, void **v) {
    return OK;
}
int cuLinkComplete(Handle link, void **code, size_t *size) {
    *code = &context;
    *size = sizeof context;
    return OK;
}
int cuLinkDestroy(Handle link) { return OK; }
int cuModuleLoadDataEx(Handle *module, const void *code, unsigned n, int *o, void **v) {
    return make(module);
}
int cuModuleUnload(Handle module) { return OK; }
int cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    return make(function);
}
int cuFuncGetAttribute(int *value, int attribute, Handle function) {
    return cuKernelGetAttribute(value, attribute, function, 0);
}
static int start(unsigned x, unsigned y, unsigned z, unsigned threads, Handle on) {
    if (!x || x > 2147483647u || !y || y > 65535 || z != 1 || !threads || threads > 1024)
        return INVALID;
    if (recorded < 0) {
        launched++;
        return OK;
    }
    if (on != &stream) return CAPTURING; /* not on the stream that is recorded */
    recorded++;
    return OK;
}
int cuLaunchKernel(Handle kernel, unsigned x, unsigned y, unsigned z, unsigned a, unsigned b,
                   unsigned c, unsigned shared, Handle on, void **arguments, void **extra) {
    return start(x, y, z, a * b * c, on);
}
struct launch { unsigned grid[3], block[3], shared; Handle stream; };
int cuLaunchKernelEx(const struct launch *l, Handle kernel, void **arguments, void **extra) {
    return start(l->grid[0], l->grid[1], l->grid[2], l->block[0] * l->block[1] * l->block[2],
                 l->stream);
}

/* Streams, events and graphs. */

int cuStreamCreate(Handle *result, unsigned flags) { *result = &stream; return OK; }
int cuStreamDestroy_v2(Handle on) { return OK; }
int cuStreamSynchronize(Handle on) { return recorded < 0 ? OK : CAPTURING; }
int cuEventCreate(Handle *event, unsigned flags) { return make(event); }
int cuEventRecord(Handle event, Handle on) {
    return on == &stream || recorded < 0 ? OK : CAPTURING;
}
int cuEventSynchronize(Handle event) { return recorded < 0 ? OK : CAPTURING; }
int cuEventElapsedTime_v2(float *milliseconds, Handle first, Handle last) {
    *milliseconds = 1;
    return OK;
}
int cuEventElapsedTime(float *milliseconds, Handle first, Handle last) {
    return cuEventElapsedTime_v2(milliseconds, first, last);
}
int cuEventDestroy_v2(Handle event) { return OK; }
int cuStreamBeginCapture_v2(Handle on, int mode) {
    if (on != &stream || recorded >= 0) return CAPTURING; /* the default one cannot be recorded */
    recorded = 0;
    return OK;
}
int cuStreamEndCapture(Handle on, Handle *graph) {
    if (on != &stream || recorded < 0) return NOT_CAPTURING;
    struct graph *result = malloc(sizeof *result);
    result->kernels = recorded;
    recorded = -1;
    *graph = result;
    return OK;
}
int cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long flags) {
    struct graph *result = malloc(sizeof *result);
    *result = *(struct graph *)graph;
    *executable = result;
    return OK;
}
static int destroy(struct graph *graph) {
    if (graph->kernels <= 0) return INVALID; /* empty, or destroyed before */
    graph->kernels = -1;                     /* never freed: to know it again */
    return OK;
}
int cuGraphDestroy(Handle graph) { return destroy(graph); }
int cuGraphExecDestroy(Handle executable) { return destroy(executable); }
int cuGraphLaunch(Handle executable, Handle on) {
    if (((struct graph *)executable)->kernels <= 0 || recorded >= 0) return INVALID;
    graphs_launched++;
    return OK;
}

/* How NVIDIA's own packages find all these. */

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                        int *status) {
    static const char *suffixes[] = {"_v3", "_v2", ""};
    Dl_info own;
    dladdr((void *)cuInit, &own);
    Handle library = dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    *function = 0;
    for (int i = 0; i < 3 && !*function; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", name, suffixes[i]);
        *function = dlsym(library, full);
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
/* Numba's own target asks for its address, though nothing here calls it. */
int cuIpcOpenMemHandle(Address *address, void *handle, unsigned flags) { return INVALID; }
