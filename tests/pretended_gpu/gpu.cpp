// A GPU for PyTorch that is not there: its memory is the host's, and its arithmetic that of PyTorch's CPU.
//
// What a program could do wrong on a GPU goes wrong here, too: tensors of two devices don't mix, memory that nobody has
// written holds NaN, reading a value is a wait, random numbers come from a generator of its own, and a recording does
// nothing until it is played, always in the same memory. Times and rounding say nothing about a GPU.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using at::Tensor;
using c10::IValue;
using c10::OperatorHandle;
using torch::jit::Stack;

const c10::Device GPU(c10::DeviceType::CUDA, 0);
const c10::DispatchKeySet KEYS(c10::DispatchKey::CUDA);

// ---- what PyTorch asks a device

struct Memory final : c10::Allocator {
    c10::DataPtr allocate(size_t size) override {
        void* data = c10::alloc_cpu(size);
        if (data) std::memset(data, 0xff, size);  // NaN
        return {data, data, &c10::free_cpu, GPU};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
    void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
};
Memory memory;

struct Guard final : c10::impl::DeviceGuardImplInterface {
    c10::DeviceType type() const override { return GPU.type(); }
    c10::Device exchangeDevice(c10::Device) const override { return GPU; }
    c10::Device getDevice() const override { return GPU; }
    void setDevice(c10::Device) const override {}
    void uncheckedSetDevice(c10::Device) const noexcept override {}
    c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, GPU); }
    c10::Stream getDefaultStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, GPU); }
    c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
    c10::DeviceIndex deviceCount() const noexcept override { return 1; }
    void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    bool queryStream(const c10::Stream&) const override { return true; }
    void synchronizeStream(const c10::Stream&) const override {}
    void synchronizeEvent(void*) const override {}
    void synchronizeDevice(const c10::DeviceIndex) const override {}
};

struct Hooks final : at::CUDAHooksInterface {
    void init() const override {}
    bool hasCUDA() const override { return true; }
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
    c10::DeviceIndex current_device() const override { return 0; }
    c10::DeviceIndex deviceCount() const override { return 1; }
    c10::DeviceIndex getCurrentDevice() const override { return 0; }
    int getNumGPUs() const override { return 1; }
    void deviceSynchronize(c10::DeviceIndex) const override {}
};

// ---- the same memory as a tensor of either device

Tensor on_cpu(const Tensor& gpu) {
    const auto options = at::TensorOptions().dtype(gpu.dtype()).device(at::kCPU);
    if (gpu.numel() == 0) return at::detail::empty_strided_cpu(gpu.sizes(), gpu.strides(), options);  // may grow
    return at::from_blob(gpu.data_ptr(), gpu.sizes(), gpu.strides(), options);
}

c10::Storage storage_on_gpu(const Tensor& cpu) {
    auto* kept = new Tensor(cpu);  // as long as the memory is in use
    const auto& storage = cpu.storage();
    c10::DataPtr data(storage.mutable_data(), kept, [](void* kept) { delete static_cast<Tensor*>(kept); }, GPU);
    return c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), &memory, true);
}

Tensor on_gpu(const Tensor& cpu) {
    auto gpu = at::detail::make_tensor<c10::TensorImpl>(storage_on_gpu(cpu), KEYS, cpu.dtype());
    gpu.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    return gpu;
}

void for_tensors(const IValue& value, const std::function<void(const Tensor&)>& look) {
    if (value.isTensor() && value.toTensor().defined()) look(value.toTensor());
    if (value.isTensorList())
        for (const Tensor& tensor : value.toTensorVector()) look(tensor);
}

IValue with_tensors(const IValue& value, const std::function<Tensor(const Tensor&)>& change) {
    if (value.isTensor()) return value.toTensor().defined() ? change(value.toTensor()) : value;
    if (value.isTensorList()) {
        std::vector<Tensor> tensors;
        for (const Tensor& tensor : value.toTensorVector()) tensors.push_back(change(tensor));
        return c10::List<Tensor>(tensors);
    }
    if (value.isOptionalTensorList()) {  // the rows and columns of an index
        c10::List<std::optional<Tensor>> tensors;
        for (const std::optional<Tensor> tensor : value.toOptionalTensorList())
            tensors.push_back(tensor ? std::make_optional(change(*tensor)) : std::nullopt);
        return tensors;
    }
    return value;
}

// ---- recordings

struct Step {  // an operation, and the memory that it had
    OperatorHandle op;
    Stack arguments, results;
    std::vector<Tensor> kept;  // of which the arguments are

    bool has_argument(const Tensor& tensor) const {
        bool found = false;
        for (const IValue& value : arguments)
            for_tensors(value, [&](const Tensor& other) { found |= other.is_same(tensor); });
        return found;
    }
};

struct Graph {
    Tensor random_state;  // before it
    std::vector<Step> steps;
    std::vector<std::pair<Tensor, Tensor>> before;  // what recording may not change, and its values
};

Graph* recording = nullptr;

// ---- waits and random numbers

long long waits = 0;
int sync_debug_mode = 0;

void wait(const std::string& name) {
    waits++;
    TORCH_CHECK(!recording, "CUDA error: operation not permitted when stream is capturing (", name, ")");
    TORCH_CHECK(sync_debug_mode != 2, "called a synchronizing CUDA operation (", name, ")");
    if (sync_debug_mode == 1) TORCH_WARN("called a synchronizing CUDA operation (", name, ")");
}

Tensor random_state;

struct OwnRandomState {  // within it, the CPU's generator is this GPU's
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    Tensor cpu = generator.get_state();
    OwnRandomState() { generator.set_state(random_state); }
    ~OwnRandomState() {
        random_state = generator.get_state();
        generator.set_state(cpu);
    }
};

void call(const OperatorHandle& op, Stack* stack) {
    std::optional<OwnRandomState> own;
    if (op.hasTag(at::Tag::nondeterministic_seeded)) own.emplace();
    op.callBoxed(stack);
}

// ---- every operation

const std::set<std::string> MIXING = {  // which take tensors of both devices on a GPU, too
    "aten::copy_", "aten::index.Tensor", "aten::_unsafe_index.Tensor", "aten::index_put_", "aten::_index_put_impl_",
};
const std::set<std::string> WAITING = {  // since their results depend on values
    "aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
};

struct Arguments {
    std::vector<Tensor> gpu, cpu;  // tensors of this GPU, and what stands for each
    bool other_device = false;    // whether there are tensors of the CPU, too, other than single numbers

    Tensor taken(const Tensor& tensor) {
        if (!tensor.is_cuda()) {
            other_device |= tensor.dim() > 0;
            return tensor;
        }
        for (size_t i = 0; i < gpu.size(); i++)
            if (gpu[i].is_same(tensor)) return cpu[i];
        gpu.push_back(tensor);
        cpu.push_back(on_cpu(tensor));
        return cpu.back();
    }

    Tensor given_back(const Tensor& tensor) const {
        for (size_t i = 0; i < gpu.size(); i++)
            if (cpu[i].is_same(tensor)) return gpu[i];
        return on_gpu(tensor);
    }

    void follow_sizes() const {  // of those that the operation has let grow
        for (size_t i = 0; i < gpu.size(); i++) {
            if (cpu[i].sizes() == gpu[i].sizes()) continue;
            auto* there = gpu[i].unsafeGetTensorImpl();
            there->set_storage_keep_dtype(storage_on_gpu(cpu[i]));
            there->set_sizes_and_strides(cpu[i].sizes(), cpu[i].strides(), cpu[i].storage_offset());
        }
    }
};

void run(const OperatorHandle& op, Stack* stack) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    const auto& schema = op.schema();
    const auto name = schema.name() + (schema.overload_name().empty() ? "" : "." + schema.overload_name());
    const auto first = stack->size() - schema.arguments().size();
    const bool copies = name == "aten::copy_";
    const IValue target = copies ? (*stack)[first] : IValue();

    Arguments arguments;
    for (size_t i = first; i < stack->size(); i++) {
        IValue& value = (*stack)[i];
        value = value.isDevice() ? IValue(c10::Device(at::kCPU))
                                 : with_tensors(value, [&](const Tensor& t) { return arguments.taken(t); });
    }
    const bool mixed = arguments.other_device && !arguments.gpu.empty();
    TORCH_CHECK(!mixed || MIXING.count(name), "Expected all tensors to be on the same device, but found at least two "
                "devices, cuda:0 and cpu! (in ", name, ", on a pretended GPU)");
    const bool travels =
        copies && arguments.gpu.size() == 1 && !(*stack)[first].toTensor().is_same((*stack)[first + 1].toTensor());
    if (WAITING.count(name) || (travels && !(*stack)[first + 2].toBool())) wait(name);

    Step step{op, Stack(stack->begin() + first, stack->end()), {}, arguments.gpu};
    for (size_t i = 0; recording && i < step.arguments.size(); i++) {
        const auto* alias = schema.arguments()[i].alias_info();
        if (alias && alias->isWrite())
            for_tensors(step.arguments[i], [](const Tensor& t) { recording->before.emplace_back(t, t.clone()); });
    }
    call(op, stack);
    arguments.follow_sizes();
    step.results = Stack(stack->begin() + first, stack->end());
    if (recording) recording->steps.push_back(std::move(step));

    if (copies) {
        (*stack)[first] = target;  // which may be the CPU's
        return;
    }
    for (size_t i = first; i < stack->size(); i++)
        (*stack)[i] = with_tensors((*stack)[i], [&](const Tensor& t) { return arguments.given_back(t); });
}

// ---- three that make memory

void check(std::optional<at::Device> device) {
    TORCH_CHECK(!device || device->index() <= 0, "CUDA error: invalid device ordinal");
}

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
    check(device);
    return at::detail::empty_generic(size, &memory, KEYS, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
    check(device);
    return at::detail::empty_strided_generic(size, stride, &memory, KEYS, c10::dtype_or_default(dtype));
}

const Tensor& resize_(const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
    const Tensor made = at::detail::empty_generic(size, &memory, KEYS, self.scalar_type(), std::nullopt);
    auto* impl = self.unsafeGetTensorImpl();
    if (made.storage().nbytes() > self.storage().nbytes()) {
        if (self.storage().nbytes())
            std::memcpy(made.data_ptr(), self.storage().mutable_data(), self.storage().nbytes());
        impl->set_storage_keep_dtype(made.storage());
    }
    impl->set_sizes_contiguous(size);
    return self;
}

}  // namespace

// ---- what tests/pretended_gpu/__init__.py calls

extern "C" {

void install(const char** names, int count) {
    random_state = at::detail::getDefaultCPUGenerator().get_state();
    c10::impl::device_guard_impl_registry[static_cast<size_t>(GPU.type())].store(new Guard());
    // PyTorch made its hooks when it was loaded and keeps them; these have no memory of their own, and take their place.
    new (const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks())) Hooks();
    c10::SetAllocator(GPU.type(), &memory, /*priority=*/200);
    static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
    library.impl("empty.memory_format", TORCH_FN(empty));
    library.impl("empty_strided", TORCH_FN(empty_strided));
    library.impl("resize_", TORCH_FN(resize_));
    for (int i = 0; i < count; i++) library.impl(names[i], torch::CppFunction::makeFromBoxedFunction<&run>());
}

long long waits_so_far() { return waits; }
void set_sync_debug_mode(int mode) { sync_debug_mode = mode; }

int random_state_size() { return random_state.numel(); }
void get_random_state(void* to) { std::memcpy(to, random_state.data_ptr(), random_state.numel()); }
void set_random_state(const void* from) {
    random_state = random_state.clone();
    std::memcpy(random_state.data_ptr(), from, random_state.numel());
}

void begin_recording() { recording = new Graph{random_state, {}, {}}; }

void* end_recording() {  // nothing of it has happened: what it made is NaN, and what it changed is as it was
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    for (const Step& step : recording->steps)
        for (const IValue& value : step.results)
            for_tensors(value, [&](const Tensor& made) {
                if (!step.has_argument(made)) std::memset(made.storage().mutable_data(), 0xff, made.storage().nbytes());
            });
    for (auto pair = recording->before.rbegin(); pair != recording->before.rend(); ++pair)
        pair->first.copy_(pair->second);
    recording->before.clear();
    random_state = recording->random_state;
    return std::exchange(recording, nullptr);
}

void replay(const void* graph) {
    at::AutoDispatchBelowADInplaceOrView below_autograd;
    for (const Step& step : static_cast<const Graph*>(graph)->steps) {
        Stack stack = step.arguments;
        call(step.op, &stack);
        std::vector<Tensor> made;
        for (const IValue& value : stack) for_tensors(value, [&](const Tensor& tensor) { made.push_back(tensor); });
        auto next = made.begin();
        for (const IValue& value : step.results)
            for_tensors(value, [&](const Tensor& place) {
                if (!step.has_argument(place)) place.copy_(*next);
                next++;
            });
    }
}

void forget(void* graph) { delete static_cast<Graph*>(graph); }
}
