/* SPDX-License-Identifier: Apache-2.0 */
// The same as consumer.c, from C++.
#include <clgaze/clgaze.h>
#include <cstring>
#include <iostream>
#include <vector>

int main()
{
    std::vector<clgaze_device> devices(clgaze_device_list(nullptr, 0));
    clgaze_device_list(devices.data(), devices.size());

    std::cout << "clgaze " << clgaze_version() << ", " << devices.size() << " devices\n";
    for (const clgaze_device &device : devices)
        std::cout << device.platform_name << ": " << device.name << "\n";
    return std::strcmp(clgaze_version(), CLGAZE_VERSION_STRING) != 0;
}
