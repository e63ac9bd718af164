// Runs golden vectors through the network: all in one batch, then the first alone; exit code 1 where any number differs.
//
//     ./network_test [FILE]           golden.bin, or another file of the form that the README tells
//     ./network_test --time BATCH     microseconds for a batch (on a GPU)
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "network.cuh"

using namespace @PREFIX@;

static std::vector<int64_t> read(const char *path)
{
    std::FILE *file = std::fopen(path, "rb");
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path);
        std::exit(2);
    }
    std::vector<int64_t> numbers;
    int64_t part[1024];
    for (size_t count; (count = std::fread(part, sizeof *part, 1024, file)) > 0;)
        numbers.insert(numbers.end(), part, part + count);
    std::fclose(file);
    return numbers;
}

static std::vector<output_t> answers(const std::vector<input_t> &input, bool streamed, int64_t batch)
{
    std::vector<output_t> output(static_cast<size_t>(batch * OUTPUT_SIZE));
    Network network(batch);
    auto *given = static_cast<input_t *>(spikeloom::reserved(input.size() * sizeof(input_t)));
    auto *put = static_cast<output_t *>(spikeloom::reserved(output.size() * sizeof(output_t)));
    spikeloom::to_device(given, input.data(), input.size() * sizeof(input_t));
    network.run(given, streamed, put);
    spikeloom::to_host(output.data(), put, output.size() * sizeof(output_t));
    spikeloom::released(given);
    spikeloom::released(put);
    return output;
}

static int64_t differ(const std::vector<output_t> &output, const int64_t *expected)
{
    int64_t samples = 0;
    for (size_t begin = 0; begin < output.size(); begin += OUTPUT_SIZE) {
        bool same = true;
        for (size_t i = begin; i < begin + OUTPUT_SIZE; ++i)
            same = same && output[i] == expected[i];
        samples += !same;
    }
    return samples;
}

#ifdef __CUDACC__
static int timed(int64_t batch)
{
    std::vector<input_t> input(static_cast<size_t>(batch * INPUT_SIZE));
    for (size_t i = 0; i < input.size(); ++i)
        input[i] = static_cast<input_t>(INPUT_LOW + static_cast<int64_t>(i * 2654435761U % (static_cast<int64_t>(INPUT_HIGH) - INPUT_LOW + 1)));
    Network network(batch);
    auto *given = static_cast<input_t *>(spikeloom::reserved(input.size() * sizeof(input_t)));
    auto *put = static_cast<output_t *>(spikeloom::reserved(static_cast<size_t>(batch * OUTPUT_SIZE) * sizeof(output_t)));
    spikeloom::to_device(given, input.data(), input.size() * sizeof(input_t));
    cudaEvent_t begin, end;
    spikeloom::checked(cudaEventCreate(&begin));
    spikeloom::checked(cudaEventCreate(&end));
    float least = 1e30F;
    for (int turn = 0; turn < 50; ++turn) {
        spikeloom::checked(cudaEventRecord(begin));
        network.run(given, false, put);
        spikeloom::checked(cudaEventRecord(end));
        spikeloom::checked(cudaEventSynchronize(end));
        float ms = 0;
        spikeloom::checked(cudaEventElapsedTime(&ms, begin, end));
        least = ms < least ? ms : least;
    }
    spikeloom::released(given);
    spikeloom::released(put);
    std::printf("%lld samples: %.2f us, %.4f us each\n", static_cast<long long>(batch), 1e3 * least, 1e3 * least / static_cast<double>(batch));
    return 0;
}
#else
static int timed(int64_t)
{
    std::fprintf(stderr, "there is no GPU here: nothing to time\n");
    return 2;
}
#endif

int main(int count, char **words)
{
    if (count == 3 && std::strcmp(words[1], "--time") == 0 && std::atoll(words[2]) > 0)
        return timed(std::atoll(words[2]));
    const std::vector<int64_t> numbers = read(count > 1 ? words[1] : "golden.bin");
    const bool told = numbers.size() >= 2 && numbers[0] > 0 && numbers[0] < int64_t{1} << 31 && numbers[1] >= 0 && numbers[1] <= 1;
    const int64_t samples = told ? numbers[0] : 0, shown = told && numbers[1] ? TICKS : 1;
    if (!told || static_cast<int64_t>(numbers.size()) != 2 + samples * (shown * INPUT_SIZE + OUTPUT_SIZE)) {
        std::fprintf(stderr, "the file holds no vectors of this network\n");
        return 2;
    }
    const bool streamed = numbers[1] != 0;
    const int64_t *inputs = numbers.data() + 2, *outputs = inputs + samples * shown * INPUT_SIZE;
    const std::vector<input_t> input(inputs, outputs);
    int64_t wrong = differ(answers(input, streamed, samples), outputs);
    std::vector<input_t> first;
    for (int64_t tick = 0; tick < shown; ++tick)
        first.insert(first.end(), inputs + tick * samples * INPUT_SIZE, inputs + (tick * samples + 1) * INPUT_SIZE);
    const int64_t alone = differ(answers(first, streamed, 1), outputs);
    wrong = wrong > alone ? wrong : alone;
    std::printf("@PREFIX@: %lld samples, %lld mismatches\n", static_cast<long long>(samples), static_cast<long long>(wrong));
    return wrong != 0;
}
